"""Recorded runs in the shape that LangChain's tracer sends today, and the recorded ones in tests/data."""

import json
import uuid
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data" / "runs"

CALCULATOR = {
    "type": "function",
    "function": {
        "name": "Calculator",
        "description": "A calculator function",
        "parameters": {
            "type": "object",
            "properties": {"num1": {"type": "number"}, "num2": {"type": "number"}},
            "required": ["num1", "num2"],
        },
    },
}


def run_id(number: int) -> str:
    """Return a run id that is the same every time."""
    return str(uuid.UUID(int=number))


def lc_message(kind: str, content: Any, **kwargs: Any) -> dict[str, Any]:
    """Write a message as langchain-core's `dumpd` does."""
    return {
        "lc": 1,
        "type": "constructor",
        "id": ["langchain", "schema", "messages", kind],
        "kwargs": {"content": content, **kwargs},
    }


def chat_run(number: int, question: str, answer: str = "ok", **fields: Any) -> dict[str, Any]:
    """Write the run of one call of a chat model."""
    return langchain_run(
        number,
        [lc_message("HumanMessage", question)],
        lc_message("AIMessage", answer, tool_calls=[], invalid_tool_calls=[]),
        **fields,
    )


def calculator_run(number: int, num1: int, num2: int, **fields: Any) -> dict[str, Any]:
    """Write the run of a call that is answered with a tool call."""
    call = {
        "name": "Calculator",
        "args": {"num1": num1, "num2": num2},
        "id": f"call_{number}",
        "type": "tool_call",
    }
    run = langchain_run(
        number,
        [
            lc_message("SystemMessage", "You are an accounting assistant."),
            lc_message("HumanMessage", f"What's {num1}/{num2}?"),
        ],
        lc_message("AIMessage", "", tool_calls=[call], invalid_tool_calls=[]),
        **fields,
    )
    run["extra"]["invocation_params"]["tools"] = [CALCULATOR]
    return run


def langchain_run(
    number: int, prompt: list[dict[str, Any]], answer: dict[str, Any], **fields: Any
) -> dict[str, Any]:
    """Write a run of LangChain's tracer."""
    return {
        "id": run_id(number),
        "trace_id": run_id(number),
        "name": "ChatOpenAI",
        "run_type": "llm",
        "start_time": f"2026-01-05T10:{number // 60 % 60:02}:{number % 60:02}",
        "end_time": "2026-01-06T10:00:00",
        "inputs": {"messages": [prompt]},
        "outputs": {
            "generations": [[{"text": "", "generation_info": {"finish_reason": "stop"}, "message": answer}]],
            "llm_output": {"token_usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}},
        },
        "extra": {"invocation_params": {"model": "gpt-4o-mini"}, "metadata": {}},
        "error": None,
        "tags": [],
        "feedback_stats": None,
        "parent_run_id": None,
        **fields,
    }


def write_runs(path: Path, runs: list[Any]) -> Path:
    """Write an export: JSON Lines."""
    path.write_text("".join(json.dumps(run) + "\n" for run in runs))
    return path


def recorded(name: str) -> dict[str, Any]:
    """Return a recorded scenario: its `runs` and the `model_requests` that were really sent."""
    scenario: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    return scenario
