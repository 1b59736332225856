"""Record `runs.jsonl`: the chain answers 280 questions under the real tracer of langchain-core.

```bash
python examples/calculator/record.py
```

Questions, answers and feedback are the same each time; ids and times are not.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import orjson
from chain import build_chain
from langchain_core.runnables import Runnable
from langchain_core.tracers import LangChainTracer
from langchain_openai import ChatOpenAI
from langsmith import Client, uuid7
from openai import APIError
from questions import Question, all_questions, notebook_questions
from run_store import RunStore, project_id
from teacher import MODEL, scripted_teacher

RUNS: Final = Path(__file__).with_name("runs.jsonl")
PROJECT: Final = "calculator"

FATES: Final = ("right", "right", "right", "right", "right", "right", "failed", "wrong", "unrated")
"""What becomes of the questions in turn; the notebook's twenty are all answered right, and rated."""

FAILURES: Final = (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_REQUEST)
WRONG_OPERATION: Final = {"+": "-", "-": "+", "*": "/", "/": "*"}


def record(questions: Sequence[Question]) -> list[dict[str, Any]]:
    """Ask every question, rate the answers as users would, and return the runs."""
    fates = dict(_fates(questions))
    script = {
        question.text: _scripted(question, fates[question], at) for at, question in enumerate(questions)
    }
    store = RunStore()
    with scripted_teacher(script) as teacher_url, store.client() as client:
        teacher = ChatOpenAI(model=MODEL, base_url=teacher_url, api_key="not-needed", max_retries=0)
        chain = build_chain(teacher)
        for question in questions:
            _ask(chain, question, client, is_rated=fates[question] != "unrated")
    return [_cleaned(run) for run in store.export() if _is_kept(run)]


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


def _ask(chain: Runnable[Any, float], question: Question, client: Client, *, is_rated: bool) -> None:
    """Run the chain once; who gets an answer rates it: 1 for the right number, 0 for another."""
    run_id = uuid7()
    tracer = LangChainTracer(project_name=PROJECT, client=client)
    with suppress(APIError):  # the run keeps the error, and nobody rates it
        result = chain.invoke(
            question.text, {"callbacks": [tracer], "run_id": run_id, "run_name": "calculator"}
        )
        if is_rated:
            client.create_feedback(
                run_id,
                key="user_score",
                score=int(result == question.answer),
                session_id=project_id(PROJECT),
            )


def _is_kept(run: dict[str, Any]) -> bool:
    """Tell the trace's root and its chat-model run from the prompt and the parsers between them."""
    return run["parent_run_id"] is None or run["run_type"] == "llm"


def _cleaned(run: dict[str, Any]) -> dict[str, Any]:
    """Return the run without the machine: no platform, and of an error its message but not its traceback."""
    runtime = {key: value for key, value in run["extra"]["runtime"].items() if key != "platform"}
    error = run["error"] and run["error"].partition("Traceback (most recent call last)")[0].rstrip()
    return run | {"extra": run["extra"] | {"runtime": runtime}, "error": error}


def main() -> None:
    """Record the runs and write them, one a line."""
    runs = record(all_questions())
    RUNS.write_bytes(b"".join(orjson.dumps(run) + b"\n" for run in runs))
    print(f"{len(runs)} runs of {len(runs) // 2} traces in {RUNS.name}")


if __name__ == "__main__":
    main()
