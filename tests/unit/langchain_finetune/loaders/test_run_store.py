"""A file of recorded runs as a source: what is selected from it, rated, exported and removed."""

import gzip
import os
import sqlite3
import stat
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_finetune import LangSmithRunChatLoader, RunExportLoader, RunRecorder, RunSelection, RunStore
from langchain_finetune._spool import read_jsonl
from langchain_finetune.errors import SelectionError, SourceNotFoundError, StorageError
from langchain_finetune.handles import OWN_TRAFFIC_KEY
from langchain_finetune.loaders import _run_tables
from langchain_finetune.loaders._run_json import dumps, loads
from langchain_finetune.loaders._run_source import has_corrections, is_source
from langchain_finetune.loaders._run_writer import writer_of
from tests.fakes.recorded_app import broken_chain, tool_chain
from tests.fakes.recorded_runs import chat_run, run_id


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.sqlite"


@pytest.fixture
def store(path):
    with RunStore(path) as store:
        yield store


def fill(path, *runs):
    """Write runs as they are recorded: without what LangSmith derives."""
    for run in runs:
        bare = {key: value for key, value in run.items() if key not in ("status", "feedback_stats")}
        writer_of(path).begin({"session_name": "default", "end_time": "2026-01-05T12:00:02", **bare})


def root(number, **fields):
    order = f"20260105T120000000000Z{run_id(number)}"
    plain = {"run_type": "chain", "name": "app", "inputs": {"q": "hi"}, "outputs": {}}
    return chat_run(number, "-", **{**plain, "trace_id": run_id(number), "dotted_order": order, **fields})


def child(number, parent, metadata=None, **fields):
    order = f"20260105T120000000000Z{run_id(parent)}.20260105T120001000000Z{run_id(number)}"
    run = chat_run(
        number,
        f"question {number}",
        trace_id=run_id(parent),
        parent_run_id=run_id(parent),
        dotted_order=order,
        **fields,
    )
    run["extra"]["metadata"] = metadata or {}
    return run


def with_metadata(run, **metadata):
    run["extra"] = {**(run.get("extra") or {}), "metadata": metadata}
    return run


def loaded(store, **selection):
    sessions = LangSmithRunChatLoader(client=store, **selection).invoke({})
    return [int(row["run_id"].rpartition("-")[2], 16) for row in read_jsonl(sessions.path)]


# --- selecting ---


def test_a_store_is_a_source_that_knows_corrections(store):
    assert is_source(store)
    assert has_corrections(store)


def test_the_newest_runs_come_first_over_all_pages(path, store):
    fill(path, *(chat_run(n, "q", start_time=f"2026-01-05T12:{n // 60:02}:{n % 60:02}") for n in range(250)))
    pages = list(store.query(RunSelection()))
    assert [len(page) for page in pages] == [100, 100, 50]
    assert [run["id"] for page in pages for run in page] == [run_id(n) for n in reversed(range(250))]


def test_runs_of_one_instant_are_all_given_once(path, store):
    fill(path, *(chat_run(number, "q") for number in range(250)))
    assert sorted(loaded(store)) == list(range(250))


def test_runs_that_come_in_while_pages_are_read_do_no_harm(path, store):
    fill(path, *(chat_run(number, "q") for number in range(150)))
    pages = store.query(RunSelection())
    first = next(pages)
    fill(path, *(chat_run(number, "q") for number in range(150, 400)))
    rest = [run["id"] for page in pages for run in page]
    assert len({*rest, *(run["id"] for run in first)}) == len(rest) + len(first)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, [1, 2, 3, 4]),
        ({"project_name": "default"}, [1, 2, 4]),
        ({"project_name": "other"}, [3]),
        ({"run_name": "Special"}, [2]),
        ({"tags": ["b"]}, [2]),
        ({"metadata": {"env": "prod"}}, [1, 2]),
        ({"model": "gpt-4o-mini"}, [1, 2, 3, 4]),
        ({"start_time": "2026-01-06"}, [4]),
        ({"end_time": "2026-01-06"}, [1, 2, 3]),
        ({"feedback": {"user_score": 1}}, [1, 3]),
        ({"feedback": {"user_score": 1}, "unrated": "keep"}, [1, 3, 4]),
        ({"feedback": lambda scores: scores.get("user_score", 1) < 1}, [2]),
        ({"filter": 'eq(name, "Special")'}, [2]),
        ({"filter": 'and(eq(feedback_key, "user_score"), gte(feedback_score, 1))'}, [3]),
        ({"trace_filter": 'and(eq(feedback_key, "user_score"), gte(feedback_score, 1))'}, [1, 3]),
        ({"trace_filter": 'eq(name, "app")'}, [1, 2]),
        ({"tree_filter": 'eq(name, "Special")'}, [2]),
        ({"tree_filter": 'eq(run_type, "chain")'}, [1, 2]),
        ({"filter": 'has(tags, "b")', "trace_filter": 'eq(name, "app")', "tree_filter": 'neq(id, "x")'}, [2]),
        ({"include_tuned": True}, [1, 2, 3, 4, 5]),
        ({"scope": "trace", "run_name": "app"}, [1, 2]),
        ({"scope": "trace", "feedback": {"user_score": 1}}, [1, 3]),
        ({"scope": "trace", "filter": 'and(eq(metadata_key, "plan"), eq(metadata_value, "pro"))'}, [2]),
        ({"scope": "trace", "metadata": {"plan": "pro"}, "tags": ["root"]}, [2]),
        ({"scope": "trace", "tree_filter": 'eq(name, "Special")'}, [2]),
        ({"scope": "thread", "metadata": {"plan": "pro"}}, [1, 2]),
        ({"scope": "thread", "run_name": "ChatOpenAI", "project_name": "other"}, [3]),
    ],
)
def test_a_selection_means_what_it_means_at_langsmith(path, store, selection, expected):
    fill(
        path,
        with_metadata(root(101), thread_id="t1"),
        child(1, 101, {"env": "prod", "thread_id": "t1"}),
        with_metadata(root(102, tags=["root"]), thread_id="t1", plan="pro"),
        child(2, 102, {"env": "prod", "thread_id": "t1"}, name="Special", tags=["a", "b"]),
        with_metadata(chat_run(3, "alone", session_name="other"), thread_id="t1"),
        chat_run(4, "late", start_time="2026-01-06T00:00:00"),
        with_metadata(chat_run(5, "our own"), **{OWN_TRAFFIC_KEY: "probe"}),
    )
    store.feedback(run_id(101), "user_score", 1)
    store.feedback(run_id(102), "user_score", 0)
    store.feedback(run_id(3), "user_score", 1)
    assert sorted(loaded(store, **selection)) == expected


def test_a_sample_and_a_limit_are_those_of_the_loader(path, store):
    fill(path, *(chat_run(number, "q") for number in range(200)))
    assert len(loaded(store, limit=7)) == 7
    sampled = loaded(store, sample=0.5, seed=3)
    assert sampled == loaded(store, sample=0.5, seed=3)
    assert 60 < len(sampled) < 140


def test_a_thread_comes_once_however_many_roots_match(path, store):
    for number in range(150):
        fill(path, with_metadata(root(1000 + number), thread_id="t"), child(number, 1000 + number))
    assert sorted(loaded(store, scope="thread", run_name="app")) == list(range(150))


def test_runs_may_be_named_by_their_ids(path, store):
    fill(path, root(101), child(1, 101), child(2, 101))
    store.feedback(run_id(101), "user_score", 1)
    loader = LangSmithRunChatLoader([run_id(1), run_id(9)], store, feedback={"user_score": 1})
    sessions = loader.invoke({})
    assert (sessions.num_sessions, sessions.rejected_by_reason) == (1, {"not_found": 1})


def test_the_project_of_the_environment_is_the_one_that_was_recorded(path, store, monkeypatch):
    fill(path, chat_run(1, "q"), chat_run(2, "q", session_name="mine"))
    monkeypatch.setenv("LANGSMITH_PROJECT", "mine")
    assert loaded(store) == [2]


def test_a_project_may_be_named_by_its_id(path, store):
    fill(path, chat_run(1, "q", session_name="mine"))
    ((run,),) = store.query(RunSelection())
    assert loaded(store, project_name=run["session_id"]) == [1]


def test_an_unknown_project_is_named_with_those_that_are_there(path, store):
    fill(path, chat_run(1, "q"))
    with pytest.raises(SelectionError, match="has no project 'typo'; it has 'default'"):
        loaded(store, project_name="typo")


def test_a_filter_that_cannot_be_read_is_refused_with_its_name(path, store):
    fill(path, chat_run(1, "q"))
    with pytest.raises(SelectionError, match="this tree_filter cannot be read at position 1"):
        loaded(store, tree_filter="is_good()")


def test_a_selection_that_takes_nothing_says_why(path, store):
    fill(path, chat_run(1, "q"))
    with pytest.raises(SelectionError, match=r"none of the 1 chat-model runs of the run store .*feedback"):
        loaded(store, feedback={"user_score": 1})


async def test_ainvoke_gives_the_same(path, store):
    fill(path, chat_run(1, "q"))
    loader = LangSmithRunChatLoader(client=store)
    assert await loader.ainvoke({}) == loader.invoke({})


def test_errored_runs_are_left_out_or_kept_as_at_langsmith(path, store):
    for chain in (broken_chain(), tool_chain()):
        try:
            chain.invoke("q", {"callbacks": [RunRecorder(path)]})
        except Exception:  # noqa: BLE001  # the host's error, which is recorded
            continue
    sessions = LangSmithRunChatLoader(client=store).invoke({})
    assert (sessions.num_sessions, sessions.rejected_by_reason) == (1, {"errored": 1})
    assert LangSmithRunChatLoader(client=store, filter="eq(error, null)").invoke({}).num_runs == 1
    assert LangSmithRunChatLoader(client=store, filter='eq(status, "error")').invoke({}).num_runs == 1


# --- rating ---


def test_several_scores_under_one_key_make_an_average(path, store):
    fill(path, chat_run(1, "q"))
    for score in (1, 0, 0.5):
        store.feedback(run_id(1), "user_score", score)
    store.feedback(run_id(1), "note", comment="a word without a score")
    run = store.by_id([run_id(1)])[run_id(1)]
    assert run["feedback_stats"] == {"user_score": {"n": 3, "avg": 0.5}}
    assert store.root_feedback([run_id(1), run_id(2)]) == {run_id(1): {"user_score": 0.5}}


def test_the_newest_correction_becomes_the_target(path, store):
    fill(path, root(101), child(1, 101), child(2, 101))
    store.feedback(run_id(1), "fix", correction={"content": "old"})
    store.feedback(run_id(1), "fix", correction={"content": "new"})
    store.feedback(run_id(1), "user_score", 1)
    assert store.corrections([run_id(1), run_id(2)]) == {run_id(1): {"content": "new"}}
    sessions = LangSmithRunChatLoader(client=store, corrections="only").invoke({})
    (row,) = read_jsonl(sessions.path)
    assert row["correction"]["content"] == "new"


# --- the runs as LangSmith would give them ---


def test_what_langsmith_derives_is_there(path, store):
    tool_chain().invoke("1+2?", {"callbacks": [RunRecorder(path, project_name="calc")]})
    ((run,),) = store.query(RunSelection())
    assert (run["status"], run["session_name"]) == ("success", "calc")
    assert (run["prompt_tokens"], run["completion_tokens"], run["total_tokens"]) == (7, 3, 10)
    assert run["parent_run_ids"] == [run["trace_id"]] == [run["parent_run_id"]]


# --- exporting ---


def test_an_export_is_read_as_the_store_is(path, store, tmp_path):
    fill(path, *(root(1000 + n) for n in range(120)), *(child(n, 1000 + n) for n in range(120)))
    for number in range(0, 120, 2):
        store.feedback(run_id(1000 + number), "user_score", 1)
    export = tmp_path / "runs.jsonl"
    assert store.export(export) == 240
    assert stat.S_IMODE(export.stat().st_mode) == 0o600
    selection = {"feedback": {"user_score": 1}}
    of_export = RunExportLoader(export, **selection).invoke({})
    of_store = LangSmithRunChatLoader(client=store, **selection).invoke({})
    rows = {row["run_id"]: row for row in read_jsonl(of_export.path)}
    assert rows == {row["run_id"]: row for row in read_jsonl(of_store.path)}
    assert len(rows) == 60


def test_an_export_that_fails_leaves_what_was_there(path, store, tmp_path, monkeypatch):
    fill(path, chat_run(1, "q"))
    target = tmp_path / "out" / "runs.jsonl"
    with pytest.raises(StorageError, match=r"cannot use .*runs\.jsonl"):
        store.export(target)
    target.parent.mkdir()
    target.write_text("before")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="No space left"):
        store.export(target)
    assert target.read_text() == "before"
    assert [file.name for file in target.parent.iterdir()] == ["runs.jsonl"]


# --- keeping it small and sound ---


def test_old_traces_go_whole_with_their_feedback_and_give_their_space_back(path, store):
    for number in range(200):
        fill(path, root(1000 + number, start_time="2026-01-05T23:59:59", inputs={"q": "x" * 2000}))
        fill(path, child(number, 1000 + number, start_time="2026-01-06T00:00:01"))
    fill(path, chat_run(500, "new", start_time="2026-01-06T00:00:00"))
    store.feedback(run_id(1000), "user_score", 1)
    store.feedback(run_id(500), "user_score", 1)
    size = store.num_bytes
    assert store.delete_before(datetime(2026, 1, 6, tzinfo=UTC)) == 400
    assert loaded(store) == [500]
    assert store.num_runs == 1
    assert store.root_feedback([run_id(1000), run_id(500)]) == {run_id(500): {"user_score": 1.0}}
    assert store.num_bytes < size / 3
    assert store.delete_before(datetime(2026, 1, 6)) == 0  # noqa: DTZ001  # naive values are UTC


def test_a_sound_file_has_no_problems_and_lost_ratings_are_one(path, store):
    fill(path, chat_run(1, "q"))
    assert store.integrity() == []
    store.feedback("typo", "user_score", 1)
    assert store.integrity() == ["1 ratings are of runs that are not here"]


def test_a_damaged_page_is_found(path, store):
    fill(path, *(chat_run(number, "q") for number in range(300)))
    writer_of(path).close()
    store.close()
    with path.open("r+b") as file:
        file.seek(4096 * 9)
        file.write(b"\xff" * 4096 * 3)
    try:
        assert store.integrity()
    except StorageError as e:
        assert "move it away to start anew" in str(e)  # noqa: PT017  # either tells


def test_a_file_that_is_not_there_is_not_made(store):
    for action in (lambda: store.num_runs, lambda: store.feedback("x", "k", 1), lambda: loaded(store)):
        with pytest.raises(SourceNotFoundError, match="record runs into it with RunRecorder"):
            action()
    assert not store.path.exists()


def test_a_newer_file_is_refused(path, store):
    fill(path, chat_run(1, "q"))
    writer_of(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StorageError, match="written by a newer version"):
        assert store.num_runs


def test_an_older_file_is_migrated_with_its_runs(path, store, monkeypatch):
    fill(path, chat_run(1, "q"))
    writer_of(path).close()
    newer = (*_run_tables.MIGRATIONS, ("ALTER TABLE feedback ADD COLUMN author TEXT",))
    monkeypatch.setattr(_run_tables, "MIGRATIONS", newer)
    assert store.num_runs == 1
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        assert "author" in [row[1] for row in db.execute("PRAGMA table_info(feedback)")]
    db.close()


def test_a_compressed_file_is_no_store(path, store):
    path.write_bytes(gzip.compress(b"x" * 5000))
    with pytest.raises(StorageError, match="no SQLite file"):
        assert store.projects()


def test_a_store_says_where_it_is(store):
    assert str(store) == f"the run store {store.path}"
    assert repr(store) == f"RunStore({str(store.path)!r})"


# --- what others wrote ---

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
documents = st.recursive(
    scalars, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3)
)


@given(st.dictionaries(st.text(), documents, max_size=4))
def test_json_goes_in_and_comes_out_as_it_was(value):
    assert loads(dumps(value)) == value


columns = ["trace_id", "dotted_order", "name", "run_type", "start_time", "extra", "inputs", "tags"]


@given(st.dictionaries(st.sampled_from(columns), documents))
@settings(deadline=None)
def test_any_run_is_recorded_and_given_back(tmp_path_factory, run):
    path = tmp_path_factory.mktemp("any") / "runs.sqlite"
    fill(path, {**run, "id": "x"})
    with RunStore(path) as store:
        found = store.by_id(["x"])["x"]
        assert {key: found[key] for key in run} == run
        list(store.query(RunSelection()))
    writer_of(path).close()
