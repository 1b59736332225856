"""What is recorded is what LangSmith's tracer would have sent, and recording never breaks the application."""

import asyncio
import json
import logging
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.runnables import RunnableGenerator, RunnableLambda
from langchain_core.tracers.context import tracing_v2_enabled
from langsmith import traceable, tracing_context, uuid7
from langsmith.anonymizer import create_anonymizer
from langsmith.utils import get_env_var

from langchain_finetune import RunRecorder, RunSelection, RunStore
from langchain_finetune.errors import SettingError, StorageError
from langchain_finetune.loaders import _run_writer, run_recorder
from tests.fakes.recorded_app import SentRuns, broken_chain, chat_openai, echo_chain, timeless, tool_chain


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.sqlite"


def bodies(path):
    with sqlite3.connect(path) as db:
        rows = [json.loads(body) for (body,) in db.execute("SELECT body FROM runs ORDER BY start_time, id")]
    db.close()
    return rows


def by_type(path, run_type="llm"):
    return [run for run in bodies(path) if run["run_type"] == run_type]


def questions(path):
    return sorted(run["inputs"]["messages"][0][0]["kwargs"]["content"] for run in by_type(path))


# --- the same as LangSmith's tracer ---


def call(chain, config):
    chain.invoke("hi", config)


def stream(chain, config):
    list(chain.stream("hi", config))


def batch(chain, config):
    chain.batch(["one", "two"], config)


def arun(chain, config):
    asyncio.run(chain.ainvoke("hi", config))


def astream(chain, config):
    async def read():
        return [chunk async for chunk in chain.astream("hi", config)]

    asyncio.run(read())


@pytest.mark.parametrize("way", [call, stream, batch, arun, astream])
def test_a_recorded_run_equals_what_the_tracer_sends(path, way):
    sent = SentRuns()
    way(
        echo_chain(),
        {
            "callbacks": [sent.tracer(), RunRecorder(path)],
            "configurable": {"thread_id": "t1", "number": 5},
            "metadata": {"env": "prod", "large": 2**70},
            "tags": ["a"],
        },
    )
    recorded = {run["id"]: timeless(run) for run in bodies(path)}
    assert len(recorded) >= 3
    assert recorded == {run_id: timeless(run) for run_id, run in sent.runs.items()}


def test_tools_parameters_and_usage_are_recorded_as_the_tracer_sends_them(path):
    sent = SentRuns()
    tool_chain().invoke("1+2?", {"callbacks": [RunRecorder(path), sent.tracer()]})
    (run,) = by_type(path)
    assert timeless(run) == timeless(sent.runs[run["id"]])
    assert run["extra"]["invocation_params"]["tools"][0]["function"]["name"] == "Calculator"
    assert run["outputs"]["generations"][0][0]["message"]["kwargs"]["tool_calls"][0]["args"] == {
        "num1": 1,
        "num2": 2,
    }
    assert "sk-secret" not in json.dumps(bodies(path))


def test_an_errored_run_is_recorded_as_the_tracer_sends_it(path):
    sent = SentRuns()
    with pytest.raises(Exception, match="400"):
        broken_chain().invoke("hi", {"callbacks": [sent.tracer(), RunRecorder(path)]})
    (run,) = by_type(path)
    assert "BadRequestError" in run["error"]
    assert timeless(run) == timeless(sent.runs[run["id"]])


def test_inputs_that_come_in_as_a_stream_are_recorded_at_their_end(path):
    sent = SentRuns()

    def shout(chunks):
        for chunk in chunks:
            yield chunk.upper()

    chain = RunnableGenerator(shout)
    list(chain.transform(iter(["a", "b"]), {"callbacks": [sent.tracer(), RunRecorder(path)]}))
    assert [timeless(run) for run in bodies(path)] == [timeless(run) for run in sent.runs.values()]
    assert bodies(path)[0]["outputs"] == {"output": "AB"}


def test_settings_of_the_tracer_are_those_of_the_recorder(path):
    settings = {"project_name": "p", "tags": ["t"], "metadata": {"team": "x"}}
    sent = SentRuns()
    echo_chain().invoke("hi", {"callbacks": [sent.tracer(**settings), RunRecorder(path, **settings)]})
    assert {run["session_name"] for run in bodies(path)} == {"p"}
    assert [timeless(run)["extra"] for run in by_type(path)] == [
        timeless(run)["extra"] for run in sent.runs.values() if run["run_type"] == "llm"
    ]
    assert by_type(path)[0]["extra"]["metadata"]["team"] == "x"


def test_what_one_call_brings_stays_with_it(path):
    recorder, chain = RunRecorder(path), echo_chain()
    for number in range(3):
        chain.invoke("hi", {"callbacks": [recorder], "configurable": {"thread_id": f"t{number}"}})
    assert [run["extra"]["metadata"]["thread_id"] for run in by_type(path)] == ["t0", "t1", "t2"]


def test_every_run_is_recorded_whatever_share_langsmith_gets(path, monkeypatch):
    monkeypatch.setenv("LANGSMITH_TRACING_SAMPLING_RATE", "0")
    get_env_var.cache_clear()
    echo_chain().invoke("hi", {"callbacks": [RunRecorder(path)]})
    monkeypatch.undo()
    get_env_var.cache_clear()
    assert len(bodies(path)) == 3


def test_further_places_that_langsmith_sends_runs_to_are_left_alone(path):
    with tracing_context(replicas=[{"project_name": "mirror", "updates": {}}]):
        echo_chain().invoke("hi", {"callbacks": [RunRecorder(path)]})
    assert [run["session_name"] for run in bodies(path)] == ["default"] * 3


def test_where_tracing_is_disabled_nothing_is_recorded_as_at_langsmith(path):
    with tracing_context(enabled=False):
        echo_chain().invoke("hi", {"callbacks": [RunRecorder(path)]})
    assert not path.exists()


# --- hidden and masked ---


def test_hidden_inputs_and_outputs_are_not_on_the_disk(path):
    recorder = RunRecorder(path, hide_inputs=True, hide_outputs=lambda _: {"kept": 1})
    echo_chain().invoke("my secret", {"callbacks": [recorder]})
    assert {json.dumps(run["inputs"]) for run in bodies(path)} == {"{}"}
    assert {json.dumps(run["outputs"]) for run in bodies(path)} == {'{"kept": 1}'}
    recorder.close()
    assert b"my secret" not in path.read_bytes()


def test_an_anonymizer_of_langsmith_masks(path):
    mask = create_anonymizer([{"pattern": r"\d{4}-\d{4}", "replace": "<card>"}])
    echo_chain().invoke("pay 1234-5678", {"callbacks": [RunRecorder(path, anonymizer=mask)]})
    assert questions(path) == ["pay <card>"]


# --- for a block, for the process, beside LangSmith ---


def test_all_in_a_block_is_recorded_and_nothing_after(path):
    with RunRecorder(path):
        echo_chain().invoke("in")
    echo_chain().invoke("out")
    assert questions(path) == ["in"]


def test_a_block_in_a_block_records_into_its_own_file(path, tmp_path):
    with RunRecorder(path):
        with RunRecorder(tmp_path / "inner.sqlite"):
            echo_chain().invoke("inner")
        echo_chain().invoke("outer")
    assert questions(path) == ["outer"]
    assert questions(tmp_path / "inner.sqlite") == ["inner"]


def test_an_installed_recorder_records_every_thread_until_it_is_uninstalled(path):
    recorder = RunRecorder(path).install()
    try:
        thread = threading.Thread(target=echo_chain().invoke, args=("other thread",))
        thread.start()
        thread.join()
        echo_chain().invoke("this thread")
    finally:
        recorder.uninstall()
    echo_chain().invoke("after")
    assert questions(path) == ["other thread", "this thread"]


def test_a_run_is_recorded_once_where_block_and_callbacks_name_the_file(path):
    with RunRecorder(path) as recorder:
        echo_chain().invoke("hi", {"callbacks": [recorder], "metadata": {"a": "b"}})
    assert recorder.num_recorded == 3


@pytest.mark.parametrize("is_in_callbacks", [True, False])
def test_langsmiths_own_tracing_goes_on_beside_it(path, is_in_callbacks):
    sent, recorder = SentRuns(), RunRecorder(path)
    with tracing_v2_enabled(client=sent.tracer().client):
        if is_in_callbacks:
            echo_chain().invoke("hi", {"callbacks": [recorder], "configurable": {"thread_id": "t"}})
        else:
            with recorder:
                echo_chain().invoke("hi", {"configurable": {"thread_id": "t"}})
    assert {run["id"]: timeless(run) for run in bodies(path)} == {
        run_id: timeless(run) for run_id, run in sent.runs.items()
    }
    assert len(sent.runs) == 3


def test_langsmiths_tracing_by_the_environment_goes_on_beside_it(path, monkeypatch):
    sent = SentRuns()
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    get_env_var.cache_clear()
    with tracing_context(client=sent.tracer().client):
        echo_chain().invoke("hi", {"callbacks": [RunRecorder(path)]})
    monkeypatch.undo()
    get_env_var.cache_clear()
    assert len(sent.runs) == len(bodies(path)) == 3


def test_without_langsmiths_tracing_there_is_none(path, monkeypatch):
    monkeypatch.setattr(
        "langchain_core.tracers.langchain.get_client", lambda: pytest.fail("a client is made")
    )
    chain = echo_chain() | RunnableLambda(lambda message: echo_chain().invoke(message.content))
    chain.invoke("hi", {"callbacks": [RunRecorder(path)]})
    assert questions(path) == ["hello", "hi"]


def test_a_chain_in_a_traced_function_stays_its_child_at_langsmith(path, caplog):
    sent = SentRuns()

    @traceable(client=sent.tracer().client)
    def app(question):
        return echo_chain().invoke(question, {"callbacks": [RunRecorder(path)]}).content

    with tracing_context(enabled=True):
        app("hi")
    (root,) = (run for run in sent.runs.values() if run["name"] == "app")
    assert {run["trace_id"] for run in sent.runs.values()} == {root["id"]}
    assert len(sent.runs) == 4
    assert not caplog.records


def test_a_traced_function_in_a_recorded_chain_is_recorded_with_it(path):
    @traceable(run_type="tool")
    def look_up(text):
        return text

    chain = RunnableLambda(look_up)
    with tracing_context(enabled=True, client=SentRuns().tracer().client):
        chain.invoke("hi", {"callbacks": [RunRecorder(path)]})
    (tool,) = by_type(path, "tool")
    assert (tool["name"], tool["outputs"]) == ("look_up", {"output": "hi"})


# --- many at once ---


def test_threads_lose_nothing(path):
    recorder, chain = RunRecorder(path), echo_chain()

    def ask(number):
        run_id = uuid7()
        chain.invoke(f"question {number}", {"callbacks": [recorder], "run_id": run_id})
        recorder.feedback(run_id, "user_score", number % 2)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(60)))
    assert questions(path) == sorted(f"question {number}" for number in range(60))
    assert (recorder.num_recorded, recorder.num_lost) == (240, 0)
    assert len(recorder.run_map) == 0
    assert len([run for page in RunStore(path).query(RunSelection()) for run in page]) == 60


async def test_tasks_lose_nothing(path):
    recorder, chain = RunRecorder(path), echo_chain()
    await asyncio.gather(*(chain.ainvoke(f"q{number}", {"callbacks": [recorder]}) for number in range(40)))
    assert questions(path) == sorted(f"q{number}" for number in range(40))


def test_what_is_kept_of_ended_runs_does_not_grow(path, monkeypatch):
    monkeypatch.setattr(run_recorder, "_MOST_FINISHED", 10)
    recorder, chain = RunRecorder(path), echo_chain()
    for _ in range(20):
        list(chain.stream("hi", {"callbacks": [recorder]}))
    assert len(recorder.order_map) == 10
    assert not recorder.run_map
    assert not recorder.run_has_token_event_map


def test_a_forked_process_records_with_a_connection_of_its_own(path):
    recorder, chain = RunRecorder(path), echo_chain()
    chain.invoke("parent", {"callbacks": [recorder]})
    writer = _run_writer.writer_of(path)
    before = writer._db
    writer.after_fork()
    chain.invoke("child", {"callbacks": [recorder]})
    assert writer._db is not before
    assert before in _run_writer._OF_PARENTS
    assert questions(path) == ["child", "parent"]


# --- a run that has not ended ---


def test_a_run_in_flight_is_pending_after_a_flush_and_whole_after_its_end(path):
    recorder = RunRecorder(path)

    def look(text):
        recorder.flush()
        (run,) = bodies(path)
        assert "end_time" not in run or run["end_time"] is None
        recorder.feedback(run["id"], "early", 1)
        return text

    RunnableLambda(look).invoke("hi", {"callbacks": [recorder]})
    (run,) = bodies(path)
    assert (run["inputs"], run["outputs"]) == ({"input": "hi"}, {"output": "hi"})
    assert run["end_time"]
    assert RunStore(path).by_id([run["id"]])[run["id"]]["feedback_stats"] == {"early": {"n": 1, "avg": 1.0}}


def test_a_run_that_was_pending_is_in_the_end_what_the_tracer_sends(path):
    sent, recorder = SentRuns(), RunRecorder(path)
    stream = echo_chain().stream("hi", {"callbacks": [sent.tracer(), recorder]})
    next(stream)
    recorder.flush()
    list(stream)
    assert {run["id"]: timeless(run) for run in bodies(path)} == {
        run_id: timeless(run) for run_id, run in sent.runs.items()
    }


def test_runs_that_never_end_do_not_pile_up(path, monkeypatch):
    monkeypatch.setattr(_run_writer, "_MOST_IN_FLIGHT", 3)
    recorder, chain = RunRecorder(path), echo_chain()
    streams = [chain.stream(f"q{number}", {"callbacks": [recorder]}) for number in range(5)]
    for stream in streams:
        next(stream)
    assert len(_run_writer.writer_of(path)._in_flight) == 3
    for stream in streams:
        list(stream)
    assert [bool(run["end_time"]) for run in bodies(path)] == [True] * 15


# --- feedback ---


def test_the_last_root_is_there_to_be_rated(path):
    recorder = RunRecorder(path)
    echo_chain().invoke("hi", {"callbacks": [recorder], "metadata": {"a": "b"}})
    feedback_id = recorder.feedback(recorder.latest_run_id, "user_score", True, comment="good")
    assert recorder.feedback(recorder.latest_run_id, "user_score", 0, feedback_id=feedback_id) == feedback_id
    (root,) = [run for run in bodies(path) if run["id"] == str(recorder.latest_run_id)]
    assert root["name"] == "RunnableSequence"
    assert RunStore(path).root_feedback([root["id"]]) == {root["id"]: {"user_score": 0.0}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", 1), "needs a key"),
        (("k", float("nan")), "a score is a finite number"),
        (("k", "good"), "a score is a finite number"),
        (("k",), "is empty: give a score"),
    ],
)
def test_feedback_that_says_nothing_is_refused(path, arguments, message):
    with pytest.raises(SettingError, match=message):
        RunRecorder(path).feedback("run-1", *arguments)


def test_feedback_that_is_no_json_is_refused(path):
    with pytest.raises(SettingError, match="made of JSON values"):
        RunRecorder(path).feedback("run-1", "k", correction={"content": object()})


# --- when the disk says no ---


@pytest.fixture
def lock(path):
    """Another process's transaction that never ends."""
    RunRecorder(path).feedback("run-0", "k", 1)
    _run_writer.writer_of(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(_run_writer, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(_run_writer, "_LAST_BUSY_SECONDS", 0.0)


def test_a_locked_file_holds_up_no_run_and_loses_none(path, lock, caplog):
    recorder, chain = RunRecorder(path), echo_chain()
    for number in range(3):
        assert chain.invoke(f"q{number}", {"callbacks": [recorder]}).content == "hello"
    assert (recorder.num_waiting, recorder.num_lost) == (9, 0)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "another process holds it locked" in record.getMessage()
    assert "q0" not in record.getMessage()
    lock.execute("ROLLBACK")
    chain.invoke("q3", {"callbacks": [recorder]})
    assert questions(path) == ["q0", "q1", "q2", "q3"]
    assert recorder.num_waiting == 0


def test_what_waits_is_bounded_and_what_is_dropped_is_counted(path, lock, monkeypatch):
    monkeypatch.setattr(_run_writer, "_MOST_WAITING", 6)
    recorder, chain = RunRecorder(path), echo_chain()
    for number in range(3):
        chain.invoke(f"q{number}", {"callbacks": [recorder]})
    assert (recorder.num_waiting, recorder.num_lost) == (6, 3)
    lock.execute("ROLLBACK")
    recorder.flush()
    assert questions(path) == ["q1", "q2"]


def test_what_waits_is_bounded_in_bytes(path, lock, monkeypatch):
    monkeypatch.setattr(_run_writer, "_MOST_WAITING_BYTES", 5000)
    recorder = RunRecorder(path)
    for number in range(20):
        recorder.feedback("run-1", "k", comment="x" * 1000, feedback_id=str(number))
    assert recorder.num_waiting == 4
    assert recorder.num_lost == 16


def test_a_directory_that_cannot_be_written_breaks_nothing(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    recorder = RunRecorder(blocked / "runs.sqlite")
    assert echo_chain().invoke("hi", {"callbacks": [recorder]}).content == "hello"
    assert recorder.num_waiting == 3
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


@pytest.mark.parametrize("content", [b"no database at all", b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_damaged_file_breaks_nothing_and_is_not_touched(path, content, caplog):
    path.write_bytes(content)
    echo_chain().invoke("hi", {"callbacks": [RunRecorder(path)]})
    assert path.read_bytes() == content
    assert "move it away to start anew" in caplog.text


def test_a_database_of_something_else_is_not_touched(path, caplog):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE customers (name)")
    db.close()
    echo_chain().invoke("hi", {"callbacks": [RunRecorder(path)]})
    assert "is a SQLite file of something else" in caplog.text
    with sqlite3.connect(path) as db:
        assert [name for (name,) in db.execute("SELECT name FROM sqlite_master")] == ["customers"]
    db.close()


def test_raise_error_breaks_the_application_as_it_was_asked_to(path, lock):
    chain = RunnableLambda(lambda text: text)
    with pytest.raises(StorageError, match="another process holds it locked"):
        chain.invoke("hi", {"callbacks": [RunRecorder(path, raise_error=True)]})
    lock.execute("ROLLBACK")


def test_a_mask_that_fails_keeps_the_run_off_the_disk_and_breaks_nothing(path):
    def fails(_):
        raise ValueError

    assert echo_chain().invoke("secret", {"callbacks": [RunRecorder(path, hide_inputs=fails)]})
    recorded = bodies(path) if path.exists() else []
    assert "secret" not in json.dumps([run.get("inputs") for run in recorded])


# --- the file ---


def test_without_a_path_the_state_directory_has_the_file():
    recorder = RunRecorder()
    echo_chain().invoke("hi", {"callbacks": [recorder]})
    assert recorder.path == RunStore().path
    assert str(recorder.path).startswith(os.environ["LANGCHAIN_FINETUNE_HOME"])
    assert questions(recorder.path) == ["hi"]


def test_only_its_owner_may_read_the_file(path):
    before = os.umask(0)
    try:
        echo_chain().invoke("hi", {"callbacks": [RunRecorder(path)]})
    finally:
        os.umask(before)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}


def test_the_chat_models_own_key_is_not_in_the_file(path):
    recorder = RunRecorder(path)
    chat_openai().invoke("hi", {"callbacks": [recorder]})
    recorder.close()
    assert b"sk-secret" not in path.read_bytes()
    assert repr(recorder) == f"RunRecorder({str(path)!r})"
