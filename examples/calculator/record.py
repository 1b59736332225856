"""Record the runs: the chain answers 280 questions, and `RunRecorder` writes down what happens.

```bash
python examples/calculator/record.py
```

makes `runs.jsonl` anew. Questions, answers and feedback are the same each time; ids and times are not.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import orjson
from chain import build_chain
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI
from langsmith import uuid7
from openai import APIError
from questions import Question, all_questions, notebook_questions
from teacher import MODEL, scripted_teacher

from langchain_finetune import RunRecorder, RunStore

RUNS: Final = Path(__file__).with_name("runs.jsonl")
PROJECT: Final = "calculator"

FATES: Final = ("right", "right", "right", "right", "right", "right", "failed", "wrong", "unrated")
"""What becomes of the questions in turn; the notebook's twenty are all answered right, and rated."""

FAILURES: Final = (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_REQUEST)
WRONG_OPERATION: Final = {"+": "-", "-": "+", "*": "/", "/": "*"}

EXPORTED: Final = (
    "id",
    "trace_id",
    "parent_run_id",
    "parent_run_ids",
    "dotted_order",
    "name",
    "run_type",
    "start_time",
    "end_time",
    "inputs",
    "outputs",
    "extra",
    "error",
    "status",
    "tags",
    "session_id",
    "session_name",
    "feedback_stats",
)
"""The columns of a LangSmith export that this project reads; the rest is bulk."""

RUNTIME: Final = ("library_version", "library", "runtime", "runtime_version")
MACHINE: Final = ("LANGSMITH_", "LANGCHAIN_", "revision_id")
"""Metadata by which the langsmith client describes the environment begins so."""


def record(questions: Sequence[Question], path: Path) -> RunStore:
    """Ask every question, rate the answers as users would, and return the file of the runs."""
    fates = dict(_fates(questions))
    script = {
        question.text: _scripted(question, fates[question], at) for at, question in enumerate(questions)
    }
    recorder = RunRecorder(path, project_name=PROJECT)
    with scripted_teacher(script) as teacher_url:
        teacher = ChatOpenAI(model=MODEL, base_url=teacher_url, api_key="not-needed", max_retries=0)
        chain = build_chain(teacher)
        for question in questions:
            _ask(chain, question, recorder, is_rated=fates[question] != "unrated")
    recorder.close()
    return RunStore(path)


def exported(store: RunStore) -> list[dict[str, Any]]:
    """Return the runs that `runs.jsonl` has: of each trace the root and the chat model's run."""
    with tempfile.TemporaryDirectory() as directory:
        export = Path(directory) / "runs.jsonl"
        store.export(export)
        runs = [json.loads(line) for line in export.read_bytes().splitlines()]
    runs.sort(key=lambda run: run["dotted_order"])
    return [_cleaned(run) for run in runs if _is_kept(run)]


def _fates(questions: Sequence[Question]) -> Iterator[tuple[Question, str]]:
    notebook = set(notebook_questions())
    yield from ((question, "right") for question in questions if question in notebook)
    others = [question for question in questions if question not in notebook]
    yield from ((question, FATES[at % len(FATES)]) for at, question in enumerate(others))


def _scripted(question: Question, fate: str, at: int) -> dict[str, Any] | HTTPStatus:
    """Return what the teacher answers."""
    if fate == "failed":
        return FAILURES[at % len(FAILURES)]
    if fate == "wrong":
        return question.arguments | {"operation": WRONG_OPERATION[question.operation]}
    return question.arguments


def _ask(chain: Runnable[Any, float], question: Question, recorder: RunRecorder, *, is_rated: bool) -> None:
    """Run the chain once; who gets an answer rates it: 1 for the right number, 0 for another."""
    run_id = uuid7()
    with suppress(APIError):  # the run keeps the error, and nobody rates it
        result = chain.invoke(
            question.text, {"callbacks": [recorder], "run_id": run_id, "run_name": "calculator"}
        )
        if is_rated:
            recorder.feedback(run_id, "user_score", result == question.answer)


def _is_kept(run: dict[str, Any]) -> bool:
    """Tell the trace's root and its chat-model run from the prompt and the parsers between them."""
    return run["parent_run_id"] is None or run["run_type"] == "llm"


def _cleaned(run: dict[str, Any]) -> dict[str, Any]:
    """Return the run without the machine: no platform, and of an error its message but not its traceback."""
    extra = run["extra"] | {"runtime": {key: run["extra"]["runtime"][key] for key in RUNTIME}}
    metadata = extra.pop("metadata", {})
    if kept := {key: value for key, value in metadata.items() if not key.startswith(MACHINE)}:
        extra["metadata"] = kept
    error = (run.get("error") or "").partition("Traceback (most recent call last)")[0].rstrip()
    cleaned = run | {"extra": extra, "error": error or None}
    return {key: cleaned.get(key) for key in EXPORTED}


def main() -> None:
    """Record the runs and write them, one a line."""
    with tempfile.TemporaryDirectory() as directory:
        runs = exported(record(all_questions(), Path(directory) / "runs.sqlite"))
    RUNS.write_bytes(b"".join(orjson.dumps(run) + b"\n" for run in runs))
    print(f"{len(runs)} runs of {len(runs) // 2} traces in {RUNS.name}")


if __name__ == "__main__":
    main()
