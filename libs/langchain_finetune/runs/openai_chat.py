"""Runs of `wrap_openai`: the request as it was sent, the chat completion as it came back."""

from collections.abc import Mapping
from typing import Any

from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs.envelope import extra_of, mapping, surroundings, usage_of
from langchain_finetune.runs.finish import refuse_cut_off
from langchain_finetune.runs.openai_messages import Message, read_openai_message
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.tools import answered, schemas_of


def read_openai_run(
    run_id: str, run: Mapping[str, Any], inputs: Mapping[str, Any], outputs: Mapping[str, Any]
) -> RecordedSession:
    """Read a run of `wrap_openai`'s chat completions.

    Raises:
        Unreadable: It cannot be trained on.
    """
    choices = outputs.get("choices")
    if not isinstance(choices, list):
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    if not choices:
        raise Unreadable(Reason.NO_ANSWER)
    extra = extra_of(run)
    parallel = inputs.get("parallel_tool_calls")
    return RecordedSession(
        run_id=run_id,
        messages=[read_openai_message(message) for message in _prompt(inputs)],
        answer=_answer(choices[0]),
        candidates=_candidates(choices[1:]),
        **schemas_of(mapping(extra.get("invocation_params")), inputs, mapping(extra.get("options"))),
        parallel_tool_calls=parallel if isinstance(parallel, bool) else None,
        response_format=dict(mapping(inputs.get("response_format"))) or None,
        model=_model(inputs, outputs),
        usage=usage_of(outputs.get("usage_metadata"), outputs.get("usage"), run),
        **surroundings(run),
    )


def _prompt(inputs: Mapping[str, Any]) -> list[Any]:
    messages = inputs.get("messages")
    if not isinstance(messages, list):
        raise Unreadable(Reason.NOT_CHAT_MODEL if "prompt" in inputs else Reason.UNKNOWN_SHAPE)
    if not messages:
        raise Unreadable(Reason.HIDDEN_INPUTS)
    return messages


def _answer(choice: Any) -> Message:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise Unreadable(Reason.NO_ANSWER)
    refuse_cut_off(choice.get("finish_reason"))
    if message.get("audio"):
        raise Unreadable(Reason.UNSUPPORTED_CONTENT)
    answer = read_openai_message({**message, "role": message.get("role") or "assistant"})
    for call in answer.get("tool_calls", ()):
        answered(call)
    if call := answer.get("function_call"):
        answered(call)
    if not answer["content"] and not answer.keys() & {"tool_calls", "function_call", "refusal"}:
        raise Unreadable(Reason.EMPTY_ANSWER)
    return answer


def _candidates(choices: list[Any]) -> list[Message]:
    answers: list[Message] = []
    for choice in choices:
        try:
            answers.append(_answer(choice))
        except Unreadable:
            continue  # nothing is trained on it: the first answer is the run's
    return answers


def _model(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> str | None:
    names = (inputs.get("model"), outputs.get("model"))
    return next((name for name in names if isinstance(name, str)), None)
