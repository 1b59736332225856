import json
import shutil
from uuid import UUID

import pytest
from langchain_core.chat_loaders import BaseChatLoader
from langchain_core.load import dumps
from langchain_core.runnables import ConfigurableField, Runnable
from langchain_core.tracers.base import BaseTracer
from langsmith.schemas import Run
from pydantic import ValidationError

from langchain_finetune import LangSmithRunChatLoader
from langchain_finetune._spool import read_jsonl, state_directory
from langchain_finetune.errors import SelectionError, SourceError
from tests.fakes.recorded_runs import calculator_run, chat_run, run_id


def run_object(number, **fields):
    return Run(**calculator_run(number, number, 2, **fields))


def ids(sessions):
    return [row["run_id"] for row in read_jsonl(sessions.path)]


def test_run_objects_need_no_client():
    sessions = LangSmithRunChatLoader([run_object(1), run_object(2)]).invoke({})
    assert ids(sessions) == [run_id(1), run_id(2)]
    row = next(read_jsonl(sessions.path))
    assert row["answer"]["tool_calls"][0]["function"]["arguments"] == '{"num1": 1, "num2": 2}'
    assert row["trace_id"] == run_id(1)


def test_dicts_are_runs_too():
    assert ids(LangSmithRunChatLoader([chat_run(1, "hi")]).invoke({})) == [run_id(1)]


def test_a_one_shot_iterator_gives_the_same_runs_on_every_use():
    loader = LangSmithRunChatLoader(run_object(number) for number in range(3))
    first = loader.invoke({})
    assert loader.invoke({}) == first
    assert len(loader.load()) == 3
    assert ids(first) == [run_id(number) for number in range(3)]


def test_a_copy_of_the_loader_shares_what_the_iterator_gave():
    loader = LangSmithRunChatLoader(chat_run(number, "hi") for number in range(3))
    configurable = loader.configurable_fields(limit=ConfigurableField(id="limit"))
    assert configurable.invoke({}, config={"configurable": {"limit": 2}}).num_sessions == 2
    assert configurable.invoke({}, config={"configurable": {"limit": 1}}).num_sessions == 1
    assert loader.invoke({}).num_sessions == 3


def test_runs_may_be_the_input():
    loader = LangSmithRunChatLoader(model="gpt-4o-mini")
    assert ids(loader.invoke([run_object(1)])) == [run_id(1)]
    assert ids(loader.invoke(run_object(number) for number in (1, 2))) == [run_id(1), run_id(2)]


async def test_runs_may_be_the_input_of_ainvoke():
    assert ids(await LangSmithRunChatLoader().ainvoke([run_object(1)])) == [run_id(1)]


def test_a_selection_narrows_the_runs_given():
    rated = run_object(2, feedback_stats={"user_score": {"n": 1, "avg": 1.0}})
    loader = LangSmithRunChatLoader([run_object(1), rated], feedback={"user_score": 1})
    assert ids(loader.invoke({})) == [run_id(2)]


def test_feedback_on_a_root_among_the_runs_given_counts():
    root = chat_run(9, "root", run_type="chain", feedback_stats={"user_score": {"n": 1, "avg": 1.0}})
    child = run_object(1, trace_id=UUID(run_id(9)), parent_run_id=UUID(run_id(9)))
    loader = LangSmithRunChatLoader([child, Run(**root)], feedback={"user_score": 1})
    assert ids(loader.invoke({})) == [run_id(1)]


def test_own_traffic_is_left_out():
    own = chat_run(1, "hi")
    own["extra"]["metadata"] = {"langchain_finetune": "ftjob-1"}
    sessions = LangSmithRunChatLoader([own, chat_run(2, "hi")]).invoke({})
    assert (ids(sessions), sessions.num_unselected) == ([run_id(2)], 1)


def test_half_a_surrogate_pair_is_reported_and_not_fatal():
    sessions = LangSmithRunChatLoader([chat_run(1, "half \ud800"), chat_run(2, "hi")]).invoke({})
    assert sessions.rejected_by_reason == {"not_json": 1}


def test_neither_runs_nor_a_project_is_an_error():
    with pytest.raises(SelectionError, match=r"no runs and no project are named: .*LANGSMITH_PROJECT"):
        LangSmithRunChatLoader().invoke({})


def test_an_empty_list_of_runs_is_an_error():
    with pytest.raises(SelectionError, match="the runs given has no chat-model run"):
        LangSmithRunChatLoader([]).invoke({})


class Store:
    """A store of runs, as a `RunSource` is."""

    def __init__(self, runs, feedback=None, corrections=None):
        self.runs = runs
        self.feedback = feedback or {}
        self.queries = []
        if corrections is not None:
            self.corrections = lambda run_ids: {it: corrections[it] for it in run_ids if it in corrections}

    def query(self, selection):
        self.queries.append(selection)
        yield from ([run] for run in self.runs)

    def by_id(self, run_ids):
        return {run["id"]: run for run in self.runs if run["id"] in run_ids}

    def root_feedback(self, trace_ids):
        return {it: self.feedback[it] for it in trace_ids if it in self.feedback}


def test_a_store_of_runs_is_a_client():
    runs = [chat_run(1, "hi", trace_id=run_id(9)), chat_run(2, "hi"), chat_run(3, "hi", tags=["a"])]
    store = Store(runs, feedback={run_id(9): {"user_score": 1.0}})
    loader = LangSmithRunChatLoader(client=store, project_name="p", feedback={"user_score": 1})
    sessions = loader.invoke({})
    assert (ids(sessions), sessions.source) == ([run_id(1)], "the project 'p'")
    assert store.queries[0].project_name == "p"
    assert ids(loader.invoke({"feedback": None, "limit": 2})) == [run_id(1), run_id(2)]
    assert ids(LangSmithRunChatLoader([run_id(2)], client=store).invoke({})) == [run_id(2)]


def test_a_store_of_runs_may_keep_corrections():
    runs = [chat_run(number, "hi", trace_id=run_id(9)) for number in (2, 1)]
    store = Store(runs, corrections={run_id(9): "better"})
    sessions = LangSmithRunChatLoader(client=store, project_name="p", corrections="prefer").invoke({})
    found = [(row["run_id"], row["correction"]) for row in read_jsonl(sessions.path)]
    assert found == [(run_id(2), {"role": "assistant", "content": "better"}), (run_id(1), None)]
    with pytest.raises(SelectionError, match="keeps no corrections"):
        LangSmithRunChatLoader(client=Store(runs), project_name="p", corrections="only").invoke({})


def test_a_snapshot_of_a_store_is_pinned():
    store = Store([chat_run(1, "hi")])
    loader = LangSmithRunChatLoader(client=store, project_name="p", snapshot="s")
    first = loader.invoke({})
    store.runs.append(chat_run(2, "hi"))
    shutil.rmtree(state_directory() / "sessions")
    assert ids(loader.invoke({})) == [run_id(1)]
    assert loader.invoke({}).sha256 == first.sha256


@pytest.mark.parametrize("field", [{"scope": "trace"}, {"corrections": "only"}, {"snapshot": "s"}])
def test_what_needs_a_project_is_refused_of_a_list_of_runs(field):
    with pytest.raises(SelectionError, match=f"cannot evaluate {next(iter(field))}"):
        LangSmithRunChatLoader([run_object(1)], **field).invoke({})


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 101])
def test_a_snapshot_has_the_name_of_a_file(name):
    with pytest.raises((SelectionError, ValidationError), match="snapshot"):
        LangSmithRunChatLoader(project_name="p", snapshot=name)


@pytest.mark.parametrize("runs", ["run", {"id": "x"}, 7])
def test_what_is_no_list_of_runs_is_refused(runs):
    with pytest.raises((SelectionError, ValidationError), match="an iterable of runs or run ids"):
        LangSmithRunChatLoader(runs)


@pytest.mark.parametrize(
    ("element", "problem"), [("my-run", "no run id"), (7, "is a int"), (None, "is a NoneType")]
)
def test_an_element_that_is_no_run_is_named_by_its_place(element, problem):
    with pytest.raises(SelectionError, match=f"element 2 of runs .*{problem}|element 2 of runs is no run id"):
        LangSmithRunChatLoader([chat_run(1, "hi"), element]).invoke({})


def test_a_query_on_a_list_of_runs_is_refused():
    with pytest.raises(SelectionError, match="a list of runs cannot evaluate filter"):
        LangSmithRunChatLoader([run_object(1)], filter='eq(name, "x")').invoke({})


def test_an_iterator_whose_spool_was_cleaned_away_is_an_error():
    loader = LangSmithRunChatLoader(iter([run_object(1)]))
    loader.invoke({})
    shutil.rmtree(state_directory() / "sessions")
    with pytest.raises(SourceError, match="pass the runs again"):
        loader.invoke({})


def test_a_list_whose_spool_was_cleaned_away_is_spooled_again():
    loader = LangSmithRunChatLoader([run_object(1)])
    first = loader.invoke({})
    shutil.rmtree(state_directory() / "sessions")
    assert loader.invoke({}) == first


def test_it_is_a_runnable_and_a_chat_loader():
    loader = LangSmithRunChatLoader([])
    assert isinstance(loader, Runnable)
    assert isinstance(loader, BaseChatLoader)


def test_runs_and_client_are_neither_shown_nor_dumped():
    loader = LangSmithRunChatLoader([chat_run(1, "secret")], project_name="p")
    assert "secret" not in repr(loader)
    dumped = json.loads(dumps(loader))
    assert dumped["kwargs"]["project_name"] == "p"
    assert not {"runs", "client"} & dumped["kwargs"].keys()


class Recorder(BaseTracer):
    def __init__(self):
        super().__init__()
        self.traced = []

    def _persist_run(self, run):
        self.traced.append(run)


def test_the_trace_holds_the_handle_of_runs_that_came_as_input():
    recorder = Recorder()
    runs = (chat_run(number, "secret") for number in range(300))
    LangSmithRunChatLoader().invoke(runs, config={"callbacks": [recorder]})
    (run,) = recorder.traced
    shown = json.dumps(
        [value.model_dump(mode="json") for value in (*run.inputs.values(), *run.outputs.values())]
    )
    assert len(shown) < 2000
    assert "secret" not in shown
