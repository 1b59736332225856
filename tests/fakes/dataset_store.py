"""A LangSmith whose datasets can be written, over real HTTP; it checks what it gets.

Both ways of writing are played: the multipart one of today's LangSmith, and the one of older self-hosted
ones. What is not known of the real one is played both ways by its fields.
"""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.langsmith_host import CUT, KEY, RefusedError
from tests.fakes.loopback import Request, Response, parts_of, serve

PAGE = 100
MOST_BYTES = 20_971_520
FIELDS = frozenset(
    {
        "id",
        "dataset_id",
        "created_at",
        "modified_at",
        "name",
        "inputs",
        "outputs",
        "metadata",
        "source_run_id",
        "attachment_urls",
    }
)

DEFAULT_FIELDS = frozenset({"created_at", "modified_at", "name", "dataset_id", "inputs"})

Example = dict[str, Any]


@dataclass
class Dataset:
    """A dataset and its versions, newest last."""

    name: str
    data_type: str = "kv"
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    versions: list[tuple[datetime, dict[str, Example]]] = field(
        default_factory=lambda: [(datetime(2026, 1, 5, tzinfo=UTC), {})]
    )

    @property
    def examples(self) -> dict[str, Example]:
        return self.versions[-1][1]

    def of_split(self, split: str) -> list[Example]:
        return [it for it in self.examples.values() if split in it["metadata"]["dataset_split"]]


@dataclass
class DatasetStore:
    """What the host holds and what it was asked."""

    url: str = ""
    is_multipart: bool = True
    known_runs: frozenset[str] | None = None
    """The runs that an example may come from; None takes any."""
    refused_text: str | None = None
    """A text that no example may hold: the refusal repeats what it refuses, as FastAPI's do."""
    datasets: dict[str, Dataset] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    failures: list[int | str] = field(default_factory=list)
    """What to answer to the next writes: a status, or `CUT`, before which the write is carried out."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def writes(self) -> list[Request]:
        return [it for it in self.requests if it.method in ("POST", "PATCH")]

    def looks(self) -> list[Request]:
        return [it for it in self.requests if it.method == "GET" and it.path == "/examples"]


@contextmanager
def dataset_store(**fields: Any) -> Iterator[DatasetStore]:
    """Serve a host on loopback."""
    store = DatasetStore(**fields)
    with serve(lambda request: _answer(store, request), lambda *_: False) as url:
        # The prefix is cut off requests: under it the client asks for the platform's paths without it.
        store.url = url
        yield store


def _answer(store: DatasetStore, request: Request) -> Response | Exception:
    with store.lock:
        store.requests.append(request)
        if request.path != "/info" and request.headers.get("x-api-key") != KEY:
            return Response(401, {"detail": "Invalid token"})
        is_write = request.method != "GET"
        failure = store.failures.pop(0) if store.failures and is_write else None
        if isinstance(failure, int):
            return Response(failure, {"detail": "broken"})
        try:
            body = (_write if is_write else _look)(store, request)
        except RefusedError as e:
            return Response(e.status, {"detail": e.detail})
        return ConnectionResetError() if failure == CUT else Response(200, body)


def _look(store: DatasetStore, request: Request) -> Any:
    match request.path.strip("/").split("/"):
        case ["info"]:
            flags = {"dataset_examples_multipart_enabled": store.is_multipart}
            answer: Any = {"version": "0.17.2", "instance_flags": flags}
        case ["sessions"]:
            project = {"id": str(uuid.UUID(int=1)), "name": "my-app", "tenant_id": str(uuid.UUID(int=2))}
            answer = [{**project, "reference_dataset_id": None, "start_time": "2026-01-05T10:00:00"}]
        case ["datasets"]:
            named = store.datasets.get(request.query["name"][0])
            answer = [_shown(named)] if named else []
        case ["datasets", dataset_id]:
            answer = _shown(_dataset(store, dataset_id))
        case ["datasets", dataset_id, "version"] if request.query["tag"] == ["latest"]:
            as_of = _dataset(store, dataset_id).versions[-1][0]
            answer = {"as_of": as_of.isoformat(), "tags": ["latest"]}
        case ["examples"]:
            answer = _listed(store, request.query)
        case ["examples", example_id]:
            answer = next(it.examples[example_id] for it in store.datasets.values())
        case _:
            raise RefusedError(404, "Not found")
    return answer


def _write(store: DatasetStore, request: Request) -> Any:
    is_new = request.method == "POST"
    match request.path.strip("/").split("/"):
        case ["datasets"]:
            return _make(store, request.body)
        case ["platform", "datasets", dataset_id, "examples"] if store.is_multipart:
            return _write_examples(_dataset(store, dataset_id), store, _from_parts(request), is_new=is_new)
        case ["examples", "bulk"]:
            first = request.body[0]
            owners = [it for it in store.datasets.values() if first["id"] in it.examples]
            dataset = _dataset(store, first["dataset_id"]) if is_new else owners[0]
            answer = _write_examples(dataset, store, request.body, is_new=is_new)
            return [{"id": it} for it in answer["example_ids"]]
        case _:
            raise RefusedError(404, "Not found")


def _make(store: DatasetStore, body: dict[str, Any]) -> dict[str, Any]:
    if body["name"] in store.datasets:
        raise RefusedError(409, "Dataset with this name already exists.")
    dataset = Dataset(body["name"], body["data_type"], body["description"], body["extra"]["metadata"])
    store.datasets[dataset.name] = dataset
    return _shown(dataset)


def _shown(dataset: Dataset) -> dict[str, Any]:
    return {
        "id": dataset.id,
        "name": dataset.name,
        "data_type": dataset.data_type,
        "created_at": "2026-01-05T10:00:00",
        "example_count": len(dataset.examples),
    }


def _dataset(store: DatasetStore, dataset_id: str) -> Dataset:
    found = next((it for it in store.datasets.values() if it.id == dataset_id), None)
    if found is None:
        raise RefusedError(404, "Dataset not found")
    return found


def _listed(store: DatasetStore, query: dict[str, list[str]]) -> list[Example]:
    limit, ids, select = int(query["limit"][0]), query.get("id"), query.get("select", sorted(FIELDS))
    if limit > PAGE or len(ids or ()) > PAGE or not FIELDS.issuperset(select):
        raise RefusedError(422, [{"loc": ["query", "limit"], "type": "less_than_equal"}])
    dataset = _dataset(store, query["dataset"][0])
    as_of = datetime.fromisoformat(query["as_of"][0]) if "as_of" in query else dataset.versions[-1][0]
    examples = max((it for it in dataset.versions if it[0] <= as_of), key=lambda it: it[0])[1]
    splits = set(query.get("splits", ()))
    found = [
        example
        for example in examples.values()
        if (ids is None or example["id"] in ids)
        and (not splits or splits & set(example["metadata"]["dataset_split"]))
    ]
    shown = {"id", *select} | (set() if "exclude_default_fields" in query else DEFAULT_FIELDS)
    start = int(query["offset"][0])
    return [{name: it[name] for name in shown if name in it} for it in found[start : start + limit]]


def _from_parts(request: Request) -> list[Example]:
    if len(request.content) > MOST_BYTES:
        raise RefusedError(413, "Request too large")
    examples: dict[str, Example] = {}
    for name, part in parts_of(request).items():
        example_id, _, kind = name.partition(".")
        value = json.loads(part.content)
        examples.setdefault(example_id, {"id": example_id})
        examples[example_id] |= {kind: value} if kind else value
    return list(examples.values())


def _write_examples(
    dataset: Dataset, store: DatasetStore, given: list[Example], *, is_new: bool
) -> dict[str, Any]:
    examples = dict(dataset.examples)
    for sent in given:
        uuid.UUID(sent["id"])
        if is_new and sent["id"] in examples:
            raise RefusedError(409, "Example already exists")
        if not is_new and sent["id"] not in examples:
            raise RefusedError(404, "Example not found")
        examples[sent["id"]] = _checked(store, examples.get(sent["id"], {}), sent, dataset.id)
    as_of = dataset.versions[-1][0] + timedelta(seconds=1)
    dataset.versions.append((as_of, examples))
    return {"example_ids": [it["id"] for it in given], "count": len(given), "as_of": as_of.isoformat()}


def _checked(store: DatasetStore, old: Example, sent: Example, dataset_id: str) -> Example:
    for name in ("inputs", "outputs"):
        if not isinstance(sent.get(name, {}), dict):
            raise RefusedError(422, [{"loc": ["body", 0, name], "type": "dict_type", "input": sent[name]}])
    if store.refused_text and store.refused_text in json.dumps(sent):
        raise RefusedError(422, [{"loc": ["body", 0, "inputs"], "type": "schema_error", "input": sent}])
    source = sent.get("source_run_id")
    if source is not None and store.known_runs is not None and source not in store.known_runs:
        raise RefusedError(422, [{"loc": ["body", 0, "source_run_id"], "type": "value_error"}])
    example = {"dataset_id": dataset_id, "created_at": "2026-01-05T10:00:00", **old, **sent}
    split = example.pop("split", None)
    metadata = dict(example.get("metadata") or {})
    if split is not None:
        metadata["dataset_split"] = [split] if isinstance(split, str) else split
    metadata.setdefault("dataset_split", ["base"])
    return {**example, "metadata": metadata}
