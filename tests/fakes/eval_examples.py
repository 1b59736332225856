"""Questions and answers for metrics."""

from typing import Any

from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.tool_calls import Answer, ToolCall
from tests.fakes.training_rows import TOOL


def calls(*named: tuple[str, Any], text: str = "") -> Answer:
    """An answer with calls."""
    return Answer(text, tuple(ToolCall(name, arguments) for name, arguments in named))


def says(text: str, **more: Any) -> Answer:
    """An answer in words."""
    return Answer(text, (), **more)


def asks(
    expected: Answer, asked: str = "What is it?", tools: tuple[Any, ...] = (TOOL,), row: int = 0
) -> Example:
    """A question to which an answer was recorded."""
    prompt = ({"role": "user", "content": asked},)
    return Example(row=row, turn=1, prompt=prompt, tools=tools, expected=expected)
