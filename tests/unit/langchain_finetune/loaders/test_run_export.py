import json

import pytest
from langchain_core.chat_loaders import BaseChatLoader
from langchain_core.load import dumps, load
from langchain_core.messages import AIMessage
from langchain_core.runnables import ConfigurableField, Runnable
from langchain_core.tracers.base import BaseTracer
from pydantic import ValidationError

from langchain_finetune import ChatSessionFile, RunExportLoader, RunSelection
from langchain_finetune._spool import read_jsonl, sha256_of
from langchain_finetune.errors import SelectionError, SourceNotFoundError
from langchain_finetune.runs import read_chat_session
from tests.fakes.recorded_runs import calculator_run, chat_run, recorded, run_id, write_runs

GOOD = {"user_score": {"n": 1, "avg": 1.0}}
BAD = {"user_score": {"n": 1, "avg": 0.0}}


def root(number, feedback):
    return {
        "id": run_id(number),
        "trace_id": run_id(number),
        "run_type": "chain",
        "name": "RunnableSequence",
        "feedback_stats": feedback,
        "inputs": {},
        "outputs": {},
    }


def child(number, parent, **fields):
    return calculator_run(number, number, 2, trace_id=run_id(parent), parent_run_id=run_id(parent), **fields)


@pytest.fixture
def export(tmp_path):
    runs = [
        child(1, 101),
        root(101, GOOD),
        root(102, BAD),
        child(2, 102),
        child(3, 103, error="Oops()"),
        root(103, GOOD),
    ]
    return write_runs(tmp_path / "runs.jsonl", runs)


def ids(sessions):
    return [row["run_id"] for row in read_jsonl(sessions.path)]


def test_chat_runs_become_sessions_and_every_run_is_accounted_for(export):
    sessions = RunExportLoader(export).invoke({})
    assert isinstance(sessions, ChatSessionFile)
    assert ids(sessions) == [run_id(1), run_id(2)]
    assert (sessions.num_runs, sessions.num_sessions, sessions.num_rejected) == (3, 2, 1)
    assert sessions.rejected_by_reason == {"errored": 1}
    assert list(read_jsonl(sessions.rejections)) == [{"run_id": run_id(3), "reason": "errored"}]
    assert sessions.sha256 == sha256_of(sessions.path)


def test_feedback_on_the_root_selects_its_child_and_goes_with_it(export):
    sessions = RunExportLoader(export, feedback={"user_score": 1}).invoke({})
    assert ids(sessions) == [run_id(1)]
    assert (sessions.num_runs, sessions.num_unselected, sessions.num_rejected) == (3, 1, 1)
    assert next(read_jsonl(sessions.path))["feedback"] == {"user_score": 1.0}


def test_feedback_of_the_run_stands_in_the_row_before_that_of_its_root(tmp_path):
    runs = [root(101, {**GOOD, "style": {"avg": 0.5}}), child(1, 101, feedback_stats=BAD)]
    sessions = RunExportLoader(write_runs(tmp_path / "r.jsonl", runs)).invoke({})
    assert next(read_jsonl(sessions.path))["feedback"] == {"user_score": 0.0, "style": 0.5}


def test_only_the_root_speaks_for_its_trace_where_parents_are_not_exported(tmp_path):
    runs = [child(1, 101), child(2, 101, feedback_stats=GOOD), root(101, BAD)]
    for run in runs:
        run.pop("parent_run_id", None)
    loader = RunExportLoader(write_runs(tmp_path / "r.jsonl", runs), feedback={"user_score": 1})
    assert ids(loader.invoke({})) == [run_id(2)]


def test_errored_runs_are_read_when_asked_for(export):
    sessions = RunExportLoader(export, include_errors=True).invoke({})
    assert ids(sessions) == [run_id(1), run_id(2), run_id(3)]


async def test_ainvoke_gives_the_same(export):
    loader = RunExportLoader(export)
    assert await loader.ainvoke({}) == loader.invoke({})


def test_the_input_overrides_the_settings(export, tmp_path):
    other = write_runs(tmp_path / "other.jsonl", [chat_run(9, "hi")])
    loader = RunExportLoader(export, feedback={"user_score": 1})
    assert ids(loader.invoke({"feedback": None})) == [run_id(1), run_id(2)]
    assert ids(loader.invoke(RunSelection(feedback={"user_score": 0}))) == [run_id(1), run_id(2)]
    assert ids(RunExportLoader().invoke(str(other))) == [run_id(9)]
    assert ids(RunExportLoader(export).invoke(other)) == [run_id(9)]
    assert ids(loader.invoke(None)) == [run_id(1)]


def test_the_same_export_gives_the_same_file(export):
    first, second = (RunExportLoader(export).invoke({}) for _ in range(2))
    assert first == second


def test_rows_without_a_type_are_known_by_their_answer(tmp_path):
    untyped = chat_run(1, "hi")
    del untyped["run_type"]
    rows = [untyped, {"id": "x", "outputs": {"text": "hi"}}, {"id": "y"}]
    assert ids(RunExportLoader(write_runs(tmp_path / "r.jsonl", rows)).invoke({})) == [run_id(1)]


def test_columns_of_bulk_exports_are_json_strings(tmp_path, export):
    rows = [
        {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in row.items()}
        for row in read_jsonl(export)
    ]
    strings = RunExportLoader(write_runs(tmp_path / "bulk.jsonl", rows), feedback={"user_score": 1}).invoke(
        {}
    )
    assert ids(strings) == [run_id(1)]


def test_own_traffic_is_left_out_unless_asked_for(tmp_path):
    own = chat_run(1, "hi")
    own["extra"]["metadata"] = {"langchain_finetune": "comparison"}
    path = write_runs(tmp_path / "r.jsonl", [own, chat_run(2, "hi")])
    assert ids(RunExportLoader(path).invoke({})) == [run_id(2)]
    assert ids(RunExportLoader(path, include_tuned=True).invoke({})) == [run_id(1), run_id(2)]


def test_a_missing_path_is_named():
    with pytest.raises(SourceNotFoundError, match=r"nowhere.jsonl"):
        RunExportLoader("nowhere.jsonl").invoke({})


def test_no_path_at_all_says_how_to_give_one():
    with pytest.raises(SelectionError, match="no export is named: give its path"):
        RunExportLoader().invoke({})


@pytest.mark.parametrize("line", ["not json", "[1, 2]", '"run"', "7"])
def test_a_line_that_is_no_run_is_a_rejection_with_its_place(tmp_path, line):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(chat_run(1, "hi")) + "\n" + line + "\n\n" + json.dumps(chat_run(2, "yo")))
    sessions = RunExportLoader(path).invoke({})
    assert ids(sessions) == [run_id(1), run_id(2)]
    assert list(read_jsonl(sessions.rejections)) == [{"run_id": f"{path}:2", "reason": "not_a_run"}]
    assert sessions.num_runs == 3


def test_an_empty_selection_says_what_removed_the_runs(export):
    with pytest.raises(SelectionError, match=r"none of the 3 chat-model runs .*run_name removed 3"):
        RunExportLoader(export, run_name="x").invoke({})


def test_a_query_is_refused_before_anything_is_read():
    with pytest.raises(SelectionError, match=r"cannot evaluate filter.*Use LangSmithRunChatLoader"):
        RunExportLoader("nowhere.jsonl", filter="eq(name, 'x')").invoke({})


def test_what_utf8_and_the_writer_cannot_hold_is_rejected(tmp_path):
    deep = {"a": 1}
    for _ in range(300):
        deep = {"a": deep}
    nested = calculator_run(2, 1, 2)
    nested["extra"]["invocation_params"]["tools"][0] = {"type": "function", "function": deep}
    path = write_runs(tmp_path / "r.jsonl", [chat_run(1, "half \ud800"), nested, chat_run(3, "hi")])
    sessions = RunExportLoader(path).invoke({})
    assert ids(sessions) == [run_id(3)]
    assert sessions.rejected_by_reason == {"not_json": 1, "too_deep": 1}


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError, match="run_nam"):
        RunExportLoader("r.jsonl", run_nam="x")


def test_it_is_a_runnable_and_a_chat_loader(export):
    loader = RunExportLoader(export)
    assert isinstance(loader, Runnable)
    assert isinstance(loader, BaseChatLoader)
    sessions = loader.load()
    assert [session["messages"][-1].tool_calls[0]["args"] for session in sessions] == [
        {"num1": 1, "num2": 2},
        {"num1": 2, "num2": 2},
    ]
    assert sessions[0]["tools"][0]["function"]["name"] == "Calculator"


def test_lazy_load_opens_no_run(export):
    recorder = Recorder()
    loader = RunExportLoader(export).with_config(callbacks=[recorder]).bound
    assert isinstance(next(loader.lazy_load())["messages"][-1], AIMessage)
    assert recorder.traced == []


@pytest.mark.parametrize(
    "name",
    [
        "core1__developer_role",
        "core1__function_message_history",
        "core1__functions_bind",
        "core1__multimodal_v1_blocks",
        "core1__names_and_ids",
        "core1__refusal",
        "core1__tools_parallel_stream",
        "lc0335__tools_roundtrip",
        "ls015__openai_tools_parallel_stream",
    ],
)
def test_nothing_of_a_recorded_run_is_lost_in_a_chat_session(tmp_path, name):
    loader = RunExportLoader(write_runs(tmp_path / "r.jsonl", recorded(name)["runs"]))
    rows = list(read_jsonl(loader.invoke({}).path))
    for row, session in zip(rows, loader.lazy_load(), strict=True):
        again = read_chat_session(session, row["run_id"])
        assert again.messages == row["messages"]
        assert again.answer == row["answer"]
        assert again.tools == row["tools"]
        assert again.functions == row["functions"]


# --- as a stage of a pipe -------------------------------------------------------------------------------


class Recorder(BaseTracer):
    def __init__(self):
        super().__init__()
        self.traced = []

    def _persist_run(self, run):
        self.traced.append(run)


def test_the_trace_is_small_and_holds_no_prompt(export):
    recorder = Recorder()
    RunExportLoader(export).invoke({}, config={"callbacks": [recorder]})
    (run,) = recorder.traced
    shown = json.dumps(
        [value.model_dump(mode="json") for value in (*run.inputs.values(), *run.outputs.values())]
    )
    assert len(shown) < 2000
    assert "accounting" not in shown


async def test_progress_is_an_event_with_its_counts(export):
    events = [event async for event in RunExportLoader(export).astream_events({}, version="v2")]
    custom = [event["data"] for event in events if event["name"] == "langchain_finetune_load"]
    assert custom == [{"num_runs": 3, "num_sessions": 2, "num_rejected": 1, "num_unselected": 0}]


async def test_long_loads_tell_after_every_page(tmp_path):
    path = write_runs(tmp_path / "r.jsonl", [chat_run(number, "hi") for number in range(2500)])
    events = [event async for event in RunExportLoader(path).astream_events({}, version="v2")]
    counts = [event["data"]["num_runs"] for event in events if event["event"] == "on_custom_event"]
    assert counts == [1000, 2000, 2500]


def test_schemas_and_graph_are_those_of_its_types():
    loader = RunExportLoader("r.jsonl")
    assert "RunSelection" in loader.get_input_jsonschema()["$defs"]
    assert "num_sessions" in loader.get_output_jsonschema()["properties"]
    assert "RunExportLoader" in [node.name for node in loader.get_graph().nodes.values()]


def test_settings_can_be_configured_at_call_time(export):
    loader = RunExportLoader(export).configurable_fields(run_name=ConfigurableField(id="run_name"))
    with pytest.raises(SelectionError, match="run_name removed 3"):
        loader.invoke({}, config={"configurable": {"run_name": "x"}})
    assert loader.invoke({}).num_sessions == 2


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_it_survives_serialization(export):
    loader = RunExportLoader(export, feedback={"user_score": 1}, tags=["a"], limit=3)
    again = load(
        json.loads(dumps(loader)), valid_namespaces=["langchain_finetune"], allowed_objects=[RunExportLoader]
    )
    assert again == loader
    assert again.invoke(RunSelection(tags=())) == loader.invoke(RunSelection(tags=()))
