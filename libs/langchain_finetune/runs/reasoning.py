"""Reasoning of a model, in every form in which it is recorded, as text.

It is kept apart from the messages: while a message is read it stands under the key `REASONING`, and
`take_reasoning` moves it into the session's own field.
"""

from collections.abc import Mapping
from typing import Any, Final

REASONING: Final = "reasoning"

KINDS: Final = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_content"})
"""Kinds of content blocks that hold reasoning."""

_PARAGRAPH: Final = "\n\n"


def reasoning_text(value: Any) -> str:
    """Return the text of one record of reasoning; empty where it is encrypted, redacted or missing.

    Read are a plain text, Anthropic's `thinking` blocks, LangChain's v1 `reasoning` blocks, the Responses
    API's `reasoning` items (`summary`, `content`) and Bedrock's `reasoning_content` blocks.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    for key in ("thinking", "reasoning", "text", "reasoning_content"):
        if found := value.get(key):
            return reasoning_text(found)
    for key in ("content", "summary"):
        if isinstance(items := value.get(key), list) and items:
            return _PARAGRAPH.join(filter(None, map(reasoning_text, items)))
    return ""


def beside(fields: Mapping[str, Any]) -> str:
    """Return the reasoning beside a message's content: DeepSeek's, OpenRouter's, LangChain's v0."""
    for key in ("reasoning_content", "reasoning"):
        if found := fields.get(key):
            return reasoning_text(found)
    return ""


def take_reasoning(messages: list[dict[str, Any]], answer: dict[str, Any]) -> list[str | None] | None:
    """Move the reasoning out of the messages: one entry an assistant message, the answer's last.

    Returns:
        None where no message has any.
    """
    taken = [each.pop(REASONING, None) for each in messages if each["role"] == "assistant"]
    taken.append(answer.pop(REASONING, None))
    return taken if any(taken) else None
