"""Lines of a sessions file, as a loader writes them: fields that have their default may be missing."""

from pathlib import Path
from typing import Any

import orjson


def user(text: str) -> dict[str, Any]:
    """A question."""
    return {"role": "user", "content": text}


def assistant(text: str | None, **fields: Any) -> dict[str, Any]:
    """An answer."""
    return {"role": "assistant", "content": text, **fields}


def calling(name: str = "f", arguments: str = "{}", call_id: str = "call_0") -> dict[str, Any]:
    """An answer that calls a tool."""
    function = {"name": name, "arguments": arguments}
    return assistant(None, tool_calls=[{"id": call_id, "type": "function", "function": function}])


def result(call_id: str = "call_0", text: str = "ok") -> dict[str, Any]:
    """What a tool gave back."""
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def tool(name: str = "f") -> dict[str, Any]:
    """A tool's schema."""
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def session(run_id: str = "r", **fields: Any) -> dict[str, Any]:
    """One recorded call."""
    return {"run_id": run_id, "messages": [user("hi")], "answer": assistant("ok"), **fields}


def sessions_file(directory: Path, sessions: list[dict[str, Any]], between: bytes = b"") -> Path:
    """A file of sessions, with the given bytes after every line."""
    path = directory / "sessions.jsonl"
    path.write_bytes(b"".join(orjson.dumps(it) + b"\n" + between for it in sessions))
    return path
