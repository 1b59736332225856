"""One recorded session as a row of OpenAI's supervised chat format."""

from typing import Any

from langchain_finetune.handles import RecordedSession

Row = dict[str, Any]


def render(session: RecordedSession) -> Row:
    """Return the prompt with the answer as its last message, and the schemas that the call carried.

    What a person wrote in place of the answer is the answer that is trained on.

    Further candidates are not trained on. The training format has no developer role: it is the system's.
    """
    row: Row = {"messages": [*map(_message, session.messages), session.correction or session.answer]}
    if session.tools:
        row["tools"] = session.tools
        if session.parallel_tool_calls is not None:
            row["parallel_tool_calls"] = session.parallel_tool_calls
    if session.functions:
        row["functions"] = session.functions
    return row


def _message(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, "role": "system"} if message["role"] == "developer" else message


def lacks_schemas(row: Row) -> bool:
    """Say whether the answer calls a tool although the run recorded no schema at all."""
    answer = row["messages"][-1]
    return ("tool_calls" in answer and "tools" not in row) or (
        "function_call" in answer and "functions" not in row
    )
