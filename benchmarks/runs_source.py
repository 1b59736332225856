"""Runs of about 4.4 kB, made one at a time, and a store of fsspec that holds as many as its path says."""

import io
from typing import Any

import fsspec
import orjson

_ID = b"@ID@"
_NUMBER = b"@NUMBER@"
_POLICY = (
    "You answer the customers of a shop for bicycles. Be brief and kind. Look up an order before you say "
    "anything about it. Refunds above 200 euros need a colleague: say that you ask one. Promise no date. "
)
_TALK = (
    "I ordered a wheel for a touring bike in size 28 and the parcel says that it was delivered to a neighbor "
    "whom I do not know, on a day on which nobody was at home here. "
)


def _message(kind: str, content: str, **fields: Any) -> dict[str, Any]:
    return {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", kind],
        "kwargs": {"content": content, **fields},
    }


def _tool(name: str) -> dict[str, Any]:
    order = {"type": "string", "description": "The order's number, as on the invoice"}
    reason = {"type": "string", "enum": ["late", "damaged", "wrong", "unwanted"]}
    schema = {"type": "object", "properties": {"order": order, "reason": reason}, "required": ["order"]}
    return {
        "type": "function",
        "function": {"name": name, "description": "Works on one order", "parameters": schema},
    }


def _template() -> bytes:
    prompt = [
        _message("SystemMessage", _POLICY * 8, type="system"),
        _message("HumanMessage", f"Order @NUMBER@. {_TALK}", type="human"),
        _message("AIMessage", f"I am sorry about order @NUMBER@. {_TALK[:80]}", type="ai", tool_calls=[]),
        _message("HumanMessage", f"Yes, please. {_TALK}", type="human"),
    ]
    answer = _message("AIMessage", f"I have asked the carrier about order @NUMBER@. {_TALK[:90]}", type="ai")
    generation = {"text": "", "generation_info": {"finish_reason": "stop"}, "message": answer}
    tools = [_tool(name) for name in ("find_order", "refund_order")]
    run = {
        "id": "@ID@",
        "trace_id": "@ID@",
        "dotted_order": "20260105T100000000000Z@ID@",
        "session_id": "00000000-0000-4000-8000-000000000001",
        "name": "ChatOpenAI",
        "run_type": "llm",
        "start_time": "2026-01-05T10:00:00.000000",
        "end_time": "2026-01-05T10:00:02.000000",
        "status": "success",
        "error": None,
        "tags": ["prod"],
        "feedback_stats": {"user_score": {"n": 1, "avg": 1.0}},
        "inputs": {"messages": prompt},
        "outputs": {
            "generations": [generation],
            "llm_output": {"token_usage": {"prompt_tokens": 700, "completion_tokens": 40}},
        },
        "extra": {
            "invocation_params": {"model": "gpt-4o-mini", "temperature": 0.2, "tools": tools},
            "metadata": {"ls_provider": "openai", "ls_model_name": "gpt-4o-mini", "app": "support"},
            "runtime": {"sdk": "langsmith-py", "sdk_version": "0.1.0", "library": "langchain-core"},
        },
    }
    return orjson.dumps(run, option=orjson.OPT_APPEND_NEWLINE)


_LINE = _template()


def make_line(number: int) -> bytes:
    """Return the line of a run: each has an id and a question of its own."""
    run_id = b"00000000-0000-4000-9000-%012x" % number
    return _LINE.replace(_ID, run_id).replace(_NUMBER, b"%08d" % number)


class _Lines(io.RawIOBase):
    def __init__(self, num_runs: int) -> None:
        self._left = iter(range(num_runs))
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while len(self._rest) < len(buffer) and (number := next(self._left, None)) is not None:
            self._rest += make_line(number)
        chunk, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Generated(fsspec.AbstractFileSystem):
    protocol = "generated"

    def exists(self, path: str, **_options: Any) -> bool:
        return path.isdecimal()

    def isdir(self, _path: str) -> bool:
        return False

    def open(self, path: str, mode: str = "rb", **_options: Any) -> Any:
        if mode != "rb":
            raise PermissionError(path)
        return io.BufferedReader(_Lines(int(path)), 1 << 16)


def register() -> None:
    """Make `generated://1000` a source of a thousand runs."""
    fsspec.register_implementation("generated", _Generated)
