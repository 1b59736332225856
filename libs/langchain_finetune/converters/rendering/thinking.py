"""Reasoning in front of the answer that it led to, as open reasoning models are trained on it. Pure.

`<think>`, the reasoning and `</think>` on lines of their own, an empty line, the answer: the templates of
[Qwen3](https://huggingface.co/Qwen/Qwen3-8B/blob/main/tokenizer_config.json) and
[DeepSeek-R1](https://huggingface.co/deepseek-ai/DeepSeek-R1/blob/main/tokenizer_config.json) take an answer
of this form apart again. They leave the reasoning of earlier turns out of the prompt, as the models' authors
[advise](https://huggingface.co/Qwen/Qwen3-8B#best-practices), but for the calls and results since the user's
last message. So it is shown there, where the run's prompt brought it along, and in the answer.
"""

from typing import Any, Final

from langchain_finetune.converters.rendering.examples import Message, SessionRow

_START: Final = "<think>"
_END: Final = "</think>"


def with_reasoning(session: SessionRow) -> SessionRow:
    """Return a session whose answer, and turns since the user's last message, show their reasoning.

    A correction shows none: a person wrote it, and the model's reasoning led elsewhere. The session itself is
    returned where there is nothing to show.
    """
    recorded = session.get("reasoning")
    messages = session["messages"]
    turns = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if not recorded or len(recorded) != len(turns) + 1:
        return session
    asked = max((index for index, it in enumerate(messages) if it["role"] == "user"), default=-1)
    shown = dict(zip(turns, recorded, strict=False))
    return {
        **session,
        "messages": [
            think(message, shown.get(index)) if index > asked else message
            for index, message in enumerate(messages)
        ],
        "answer": think(session["answer"], recorded[-1]),
    }


def without_training_where_hidden(session: SessionRow) -> SessionRow:
    """Return a session that shows reasoning with the weight 0 on the turns of its history that show none.

    Trained on as they stand, they would teach a model to answer without reasoning.
    """
    messages = session["messages"]
    if not any(map(_is_thinking, [*messages, session["answer"]])):
        return session
    return {
        **session,
        "messages": [
            {**message, "weight": 0}
            if message["role"] == "assistant" and not _is_thinking(message)
            else message
            for message in messages
        ],
    }


def think(message: Message, reasoning: str | None) -> Message:
    """Return an assistant message with its reasoning in front; itself where it has none, or says nothing.

    An answer of nothing but reasoning stays empty, so that it is recognized as empty.
    """
    content = message.get("content")
    text = (reasoning or "").replace(_START, "").replace(_END, "").strip()
    is_saying = content or message.get("tool_calls") or message.get("function_call")
    if not text or not is_saying or _is_thinking(message):
        return message
    front = f"{_START}\n{text}\n{_END}\n\n"
    if isinstance(content, list):
        return {**message, "content": _with_front(content, front)}
    return {**message, "content": front + (content or "")}


def _with_front(parts: list[Any], front: str) -> list[Any]:
    first, *rest = parts
    if first.get("type") == "refusal":  # stands alone
        return parts
    if first.get("type") == "text":
        return [{**first, "text": front + first["text"]}, *rest]
    return [{"type": "text", "text": front}, *parts]


def _is_thinking(message: Message) -> bool:
    if message["role"] != "assistant":
        return False
    content = message.get("content")
    if isinstance(content, list):
        content = next((part.get("text") for part in content if part.get("type") == "text"), None)
    return isinstance(content, str) and content.lstrip().startswith(_START)
