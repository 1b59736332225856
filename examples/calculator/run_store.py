"""The little of LangSmith that recording needs: it takes in runs and feedback, and exports them.

The tracer of langchain-core and the langsmith client talk to it over HTTP as they would to LangSmith.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from statistics import fmean
from typing import Any, Final

from langsmith import Client
from loopback import serve

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


class RunStore:
    """Runs and feedback, as LangSmith would keep them."""

    def __init__(self) -> None:
        self._runs: dict[str, dict[str, Any]] = {}
        self._scores: dict[str, dict[str, list[float]]] = {}

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Listen, and yield a langsmith client whose runs come here."""
        with serve(self.take) as url:
            yield Client(
                url,
                api_key="not-needed",
                auto_batch_tracing=False,  # each run is here when the chain returns
                omit_traced_runtime_info=True,
            )

    def take(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """Answer the requests by which the langsmith client sends runs and feedback."""
        match method, path.strip("/").split("/"):
            case "GET", ["info"]:
                return HTTPStatus.OK, {"batch_ingest_config": {"use_multipart_endpoint": False}}
            case "POST", ["runs"]:
                self._runs[body["id"]] = body
            case "PATCH", ["runs", run_id]:
                self._runs[run_id] |= {key: value for key, value in body.items() if value is not None}
            case "POST", ["feedback"]:
                scores = self._scores.setdefault(body["run_id"], {})
                scores.setdefault(body["key"], []).append(body["score"])
            case _:
                return HTTPStatus.NOT_FOUND, {"detail": f"not part of the recording: {method} {path}"}
        return HTTPStatus.ACCEPTED, {}

    def export(self) -> list[dict[str, Any]]:
        """Return the runs in the order in which they started."""
        runs = sorted(self._runs.values(), key=lambda run: run["dotted_order"])
        return [self._exported(run) for run in runs]

    def _exported(self, run: dict[str, Any]) -> dict[str, Any]:
        ancestors = [part.split("Z", 1)[1] for part in run["dotted_order"].split(".")[:-1]]
        scores = self._scores.get(run["id"], {})
        derived = {
            "status": "error" if run.get("error") else "success",
            "session_id": project_id(run["session_name"]),
            "parent_run_ids": ancestors,
            "feedback_stats": {key: {"n": len(given), "avg": fmean(given)} for key, given in scores.items()},
        }
        return {key: (run | derived).get(key) for key in EXPORTED}


def project_id(project_name: str) -> str:
    """Return the id that the store gives to a project."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, project_name))
