"""Rows to train on, and what the converter would hand over for them."""

from pathlib import Path
from typing import Any

from langchain_finetune._spool import Spool, publish_training_data
from langchain_finetune.handles import Method, TrainingData

TOOL = {
    "type": "function",
    "function": {
        "name": "Calculator",
        "description": "A calculator function",
        "parameters": {"type": "object", "properties": {"num1": {"type": "number"}}},
    },
}


def call(
    name: str = "Calculator", arguments: str = '{"num1": 56}', call_id: str = "call_1"
) -> dict[str, Any]:
    """A tool call in OpenAI's form."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def text_row(number: int) -> dict[str, Any]:
    """A row with a text for an answer."""
    return {
        "messages": [
            {"role": "user", "content": f"What is {number}?"},
            {"role": "assistant", "content": f"It is {number}."},
        ]
    }


def tool_row(number: int) -> dict[str, Any]:
    """A row with a tool call for an answer."""
    answer = {"role": "assistant", "content": None, "tool_calls": [call(arguments=f'{{"num1": {number}}}')]}
    return {"messages": [{"role": "user", "content": f"Reckon {number}"}, answer], "tools": [TOOL]}


def preference_row(number: int) -> dict[str, Any]:
    """A row of preferences: a conversation with a tool, and two answers to it."""
    reckoned = {"role": "assistant", "content": None, "tool_calls": [call(arguments=f'{{"num1": {number}}}')]}
    told = {"role": "tool", "tool_call_id": "call_1", "content": str(number)}
    return {
        "input": {
            "messages": [{"role": "user", "content": f"Reckon {number}"}, reckoned, told],
            "tools": [TOOL],
            "parallel_tool_calls": True,
        },
        "preferred_output": [{"role": "assistant", "content": f"It is {number}."}],
        "non_preferred_output": [{"role": "assistant", "content": "I cannot say."}],
    }


def graded_row(number: int) -> dict[str, Any]:
    """A row for reinforcement, with what its grader reads."""
    asked = {"role": "user", "content": f"What is {number}?"}
    return {"messages": [{"role": "developer", "content": "Be short."}, asked], "answer": {"is": number}}


ROW_OF = {"supervised": tool_row, "dpo": preference_row, "reinforcement": graded_row}


def rows(count: int = 12) -> list[dict[str, Any]]:
    """Rows enough for any host."""
    return [text_row(number) for number in range(count)]


def training_data(
    num_train: int = 12, num_validation: int = 2, num_test: int = 3, method: Method = "supervised"
) -> TrainingData:
    """Training data as it lies in the state directory."""
    counts = {"train": num_train, "validation": num_validation, "test": num_test}
    with Spool("data") as spool:
        writers = {split: spool.writer(f"{split}.jsonl") for split in counts}
        number = 0
        for split, count in counts.items():
            for _ in range(count):
                writers[split].write(ROW_OF[method](number))
                number += 1
        return publish_training_data(spool, writers, num_runs=number, method=method)


def file_of(directory: Path, content: list[dict[str, Any]]) -> Path:
    """A JSON Lines file."""
    import orjson  # noqa: PLC0415

    path = directory / "rows.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in content))
    return path
