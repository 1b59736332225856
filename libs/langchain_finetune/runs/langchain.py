"""Runs of LangChain's tracer: every age since 0.0.335, Python and JavaScript.

The prompt is `inputs.messages`, a list in a list (flat in what the first servers gave back); the answers are
`outputs.generations`, the same; the schemas stand in `extra.invocation_params`.
"""

from collections.abc import Mapping
from typing import Any

from langchain_finetune.handles import RecordedSession
from langchain_finetune.runs.envelope import extra_of, mapping, surroundings, usage_of
from langchain_finetune.runs.finish import refuse_cut_off
from langchain_finetune.runs.messages import Message, read_answer, read_message
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.tools import schemas_of


def read_langchain_run(
    run_id: str, run: Mapping[str, Any], inputs: Mapping[str, Any], outputs: Mapping[str, Any]
) -> RecordedSession:
    """Read a run of LangChain's tracer.

    Raises:
        Unreadable: It cannot be trained on.
    """
    extra = extra_of(run)
    parameters = mapping(extra.get("invocation_params"))
    if parameters.get("previous_response_id"):
        raise Unreadable(Reason.PREVIOUS_RESPONSE_ID)
    generations = _generations(outputs)
    messages = [read_message(element) for element in _prompt(inputs)]
    answer = _answer(generations[0])
    fields = mapping(mapping(generations[0].get("message")).get("kwargs"))
    return RecordedSession(
        run_id=run_id,
        messages=messages,
        answer=answer,
        candidates=_candidates(generations[1:]),
        **schemas_of(parameters, inputs, mapping(extra.get("options"))),
        parallel_tool_calls=_flag(parameters.get("parallel_tool_calls")),
        response_format=dict(mapping(parameters.get("response_format"))) or None,
        model=_model(parameters, extra, fields),
        usage=_usage(fields, outputs, run),
        **surroundings(run),
    )


def _prompt(inputs: Mapping[str, Any]) -> list[Any]:
    if "messages" not in inputs:
        raise Unreadable(Reason.NOT_CHAT_MODEL if "prompts" in inputs else Reason.UNKNOWN_SHAPE)
    messages = inputs["messages"]
    if isinstance(messages, list) and len(messages) == 1 and isinstance(messages[0], list):
        messages = messages[0]
    if not isinstance(messages, list):
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    if not messages:
        raise Unreadable(Reason.HIDDEN_INPUTS)
    return messages


def _generations(outputs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    generations = outputs.get("generations")
    if isinstance(generations, list) and generations and isinstance(generations[0], list):
        generations = generations[0]
    if not isinstance(generations, list):
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    if not generations:
        raise Unreadable(Reason.NO_ANSWER)
    if not all(isinstance(generation, dict) for generation in generations):
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    return generations


def _answer(generation: Mapping[str, Any]) -> Message:
    message = generation.get("message")
    if message is None:
        raise Unreadable(Reason.NOT_CHAT_MODEL)
    details = mapping(generation.get("generation_info") or generation.get("generationInfo"))
    response = mapping(mapping(mapping(message).get("kwargs")).get("response_metadata"))
    refuse_cut_off(details.get("finish_reason"), response.get("finish_reason"), response.get("stop_reason"))
    if response.get("status") == "incomplete":
        raise Unreadable(Reason.TRUNCATED)
    return read_answer(message)


def _candidates(generations: list[Mapping[str, Any]]) -> list[Message]:
    answers: list[Message] = []
    for generation in generations:
        try:
            answers.append(_answer(generation))
        except Unreadable:
            continue  # nothing is trained on it: the first answer is the run's
    return answers


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _model(parameters: Mapping[str, Any], extra: Mapping[str, Any], fields: Mapping[str, Any]) -> str | None:
    names = (
        parameters.get("model"),
        parameters.get("model_name"),
        mapping(extra.get("metadata")).get("ls_model_name"),
        mapping(fields.get("response_metadata")).get("model_name"),
    )
    return next((name for name in names if isinstance(name, str)), None)


def _usage(
    fields: Mapping[str, Any], outputs: Mapping[str, Any], run: Mapping[str, Any]
) -> dict[str, int] | None:
    output = mapping(outputs.get("llm_output") or outputs.get("llmOutput"))
    return usage_of(
        fields.get("usage_metadata"),
        output.get("token_usage") or output.get("tokenUsage"),
        run,
    )
