import json
import os
import random
import subprocess
import sys
from collections import Counter

import pytest
from langchain_core.load import dumps, load
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableGenerator
from langchain_core.tracers.base import BaseTracer
from pydantic import ValidationError

from langchain_finetune import RecordedSession, RunExportLoader, TrainingData, TrainingDataConverter
from langchain_finetune._spool import load_training_data, read_jsonl, state_directory
from langchain_finetune.errors import (
    NotEnoughExamplesError,
    SourceError,
    SourceNotFoundError,
    UnreadableRunError,
)
from tests.fakes.recorded_runs import CALCULATOR, calculator_run, chat_run, run_id, write_runs

pytestmark = pytest.mark.filterwarnings("default::UserWarning")


def session(number, question=None, answer="ok", **fields):
    return RecordedSession(
        run_id=f"run-{number}",
        messages=[{"role": "user", "content": question or f"question {number}"}],
        answer={"role": "assistant", "content": answer},
        **fields,
    )


def rows_of(data, split):
    path = getattr(data, split)
    return list(read_jsonl(path)) if path else []


def report_of(data):
    return list(read_jsonl(data.report))


@pytest.fixture
def loader(tmp_path):
    runs = [calculator_run(number, number, 7) for number in range(100)]
    runs += [calculator_run(100 + number, number, 8, error="Oops()") for number in range(3)]
    return RunExportLoader(write_runs(tmp_path / "runs.jsonl", runs))


def test_runs_become_rows_and_every_run_has_a_line_in_the_report(loader):
    data = (loader | TrainingDataConverter()).invoke({})
    assert isinstance(data, TrainingData)
    assert data.num_train + data.num_validation + data.num_test == 100
    assert (data.num_runs, data.num_rejected, data.num_duplicates) == (103, 3, 0)
    assert data.rejected_by_reason == {"errored": 3}
    assert data.num_tokens == 700
    assert Counter(line["status"] for line in report_of(data)) == {"kept": 100, "rejected": 3}
    assert len({line["run_id"] for line in report_of(data)}) == 103


def test_the_exact_row(loader):
    data = (loader | TrainingDataConverter()).invoke({})
    line = next(line for line in report_of(data) if line["run_id"] == run_id(56))
    row = getattr(data, line["split"]).read_bytes().splitlines()[line["row"]]
    assert json.loads(row) == {
        "messages": [
            {"role": "system", "content": "You are an accounting assistant."},
            {"role": "user", "content": "What's 56/7?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_56",
                        "type": "function",
                        "function": {"name": "Calculator", "arguments": '{"num1": 56, "num2": 7}'},
                    }
                ],
            },
        ],
        "tools": [CALCULATOR],
    }
    assert line == {
        "run_id": run_id(56),
        "status": "kept",
        "tokens": 7,
        "split": line["split"],
        "row": line["row"],
    }


def test_every_line_of_the_report_points_at_its_row(loader):
    data = (loader | TrainingDataConverter()).invoke({})
    splits = {split: rows_of(data, split) for split in ("train", "validation", "test")}
    for line in report_of(data):
        if line["status"] == "kept":
            question = splits[line["split"]][line["row"]]["messages"][1]["content"]
            assert question == f"What's {int(line['run_id'][-12:], 16)}/7?"


async def test_ainvoke_gives_the_same(loader):
    pipe = loader | TrainingDataConverter()
    assert await pipe.ainvoke({}) == pipe.invoke({})


def test_the_data_is_found_again_by_its_fingerprint(loader):
    data = (loader | TrainingDataConverter()).invoke({})
    assert load_training_data(data.fingerprint) == data
    assert data.train.parent == state_directory() / "data" / data.fingerprint[:16]


def test_the_fingerprint_is_the_same_in_another_process_with_its_keys_in_another_order(tmp_path):
    runs = [calculator_run(number, number, 7) for number in range(30)]
    expected = (RunExportLoader(write_runs(tmp_path / "a.jsonl", runs)) | TrainingDataConverter()).invoke({})

    def shuffled(value, generator, *, is_payload=False):
        if isinstance(value, list):
            return [shuffled(item, generator, is_payload=is_payload) for item in value]
        if not isinstance(value, dict):
            return value
        items = list(value.items())
        if not is_payload:  # the order inside schemas and arguments is what the model saw
            generator.shuffle(items)
        return {
            key: shuffled(item, generator, is_payload=is_payload or key in ("tools", "args"))
            for key, item in items
        }

    path = write_runs(tmp_path / "b.jsonl", [shuffled(run, random.Random(1)) for run in runs])
    code = (
        "import sys; from langchain_finetune import RunExportLoader, TrainingDataConverter;"
        "print((RunExportLoader(sys.argv[1]) | TrainingDataConverter()).invoke({}).fingerprint)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    shown = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, env=environment
    )
    assert shown.stdout.strip() == expected.fingerprint


def test_a_report_of_other_rejections_changes_no_fingerprint(loader, tmp_path):
    data = (loader | TrainingDataConverter()).invoke({})
    fewer = [calculator_run(number, number, 7) for number in range(100)]
    again = (RunExportLoader(write_runs(tmp_path / "f.jsonl", fewer)) | TrainingDataConverter()).invoke({})
    assert again.fingerprint == data.fingerprint
    assert (again.num_runs, data.num_runs) == (100, 103)


def test_equal_rows_are_left_out_and_point_at_the_first():
    sessions = [*(session(number) for number in range(20)), session(99, "question 3")]
    data = TrainingDataConverter().invoke(sessions)
    assert data.num_duplicates == 1
    lines = {line["run_id"]: line for line in report_of(data)}
    assert lines["run-99"] == {**lines["run-3"], "run_id": "run-99", "status": "duplicate"}
    kept = TrainingDataConverter(deduplicate="none").invoke(sessions)
    assert kept.num_duplicates == 0
    assert kept.num_train + kept.num_validation + kept.num_test == 21


def test_the_same_question_is_never_trained_on_and_held_out():
    sessions = [session(number, f"question {number % 40}", f"answer {number}") for number in range(200)]
    data = TrainingDataConverter(validation_fraction=0.2, test_fraction=0.2).invoke(sessions)
    asked = [
        {row["messages"][0]["content"] for row in rows_of(data, split)}
        for split in ("train", "validation", "test")
    ]
    assert sum(map(len, asked)) == len(set.union(*asked)) == 40


@pytest.mark.parametrize("field", ["thread_id", "trace_id"])
def test_what_belongs_together_stays_together(field):
    sessions = [session(number, **{field: f"group {number % 25}"}) for number in range(100)]
    data = TrainingDataConverter(test_fraction=0.3).invoke(sessions)
    splits = {}
    for line in report_of(data):
        splits.setdefault(int(line["run_id"][4:]) % 25, set()).add(line["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert data.num_test


def test_rows_that_break_a_rule_are_reported_with_reason_and_place():
    bad = session(50, "tell me <|im_end|>")
    data = TrainingDataConverter().invoke([*(session(number) for number in range(20)), bad])
    assert data.rejected_by_reason == {"special_token": 1}
    assert report_of(data)[-1] == {
        "run_id": "run-50",
        "status": "rejected",
        "reason": "special_token",
        "field": "messages[0].content",
    }


def test_raise_instead_of_reject_names_the_run():
    sessions = [session(1), session(2, "<|im_end|>")]
    with pytest.raises(
        UnreadableRunError, match=r"run run-2 .*special_token \(messages\[0\]\.content\)"
    ) as caught:
        TrainingDataConverter(on_error="raise").invoke(sessions)
    assert (caught.value.run_id, caught.value.reason) == ("run-2", "special_token")


def test_raise_instead_of_reject_counts_what_the_loader_rejected(loader):
    with pytest.raises(
        UnreadableRunError, match=f"run {run_id(100)} .*errored. The call ended with an error"
    ):
        (loader | TrainingDataConverter(on_error="raise")).invoke({})


def test_answers_that_call_without_a_schema_are_kept_and_warned_about(tmp_path):
    runs = [calculator_run(number, number, 7) for number in range(20)]
    del runs[3]["extra"]["invocation_params"]["tools"]
    pipe = RunExportLoader(write_runs(tmp_path / "r.jsonl", runs)) | TrainingDataConverter()
    with pytest.warns(UserWarning, match="1 answers call tools although"):
        data = pipe.invoke({})
    assert [line["run_id"] for line in report_of(data) if line.get("reason") == "tools_missing"] == [
        run_id(3)
    ]
    assert data.num_rejected == 0


def test_too_few_rows_say_why_and_what_to_do(tmp_path):
    runs = [chat_run(number, f"q {number}") for number in range(5)]
    runs += [chat_run(5, "q 0"), chat_run(6, "e", error="Oops()"), chat_run(7, "f", error="Oops()")]
    runs += [chat_run(8, "<|im_end|>")]
    pipe = RunExportLoader(write_runs(tmp_path / "r.jsonl", runs)) | TrainingDataConverter()
    counts = "2 errored, 1 special_token, 1 duplicates"
    message = rf"9 runs of the export .*r\.jsonl give 5 rows, 10 are needed.*{counts}"
    with pytest.raises(NotEnoughExamplesError, match=message):
        pipe.invoke({})
    assert list((state_directory() / "data").glob("*")) == []


def test_small_data_gives_held_out_rows_back_with_a_warning():
    with pytest.warns(UserWarning, match="10 rows in 10 groups are too few .*test and validation stay empty"):
        data = TrainingDataConverter().invoke([session(number) for number in range(10)])
    assert (data.num_train, data.validation, data.test) == (10, None, None)


def test_a_smaller_minimum_allows_less():
    data = TrainingDataConverter(min_examples=1).invoke([session(number) for number in range(3)])
    assert (data.num_train, data.num_validation, data.num_test) == (1, 1, 1)


def test_chat_sessions_of_any_loader_are_taken():
    sessions = (
        {"messages": [SystemMessage("s"), HumanMessage(f"q {number}"), AIMessage("a")]}
        for number in range(20)
    )
    data = TrainingDataConverter().invoke(sessions)
    assert data.num_runs == 20
    assert report_of(data)[0]["run_id"] == "session-1"
    assert rows_of(data, "train")[0]["messages"][0] == {"role": "system", "content": "s"}


def test_chat_sessions_of_the_loader_come_out_as_its_own_rows(loader):
    direct = (loader | TrainingDataConverter()).invoke({})
    viewed = TrainingDataConverter().invoke(loader.lazy_load())
    assert rows_of(viewed, "train") == rows_of(direct, "train")


def test_the_file_of_a_loader_is_taken_by_its_path(loader):
    sessions = loader.invoke({})
    data = TrainingDataConverter().invoke(sessions.path)
    assert data.fingerprint == TrainingDataConverter().invoke(sessions).fingerprint
    assert TrainingDataConverter().invoke(str(sessions.path)) == data


def test_sessions_that_cannot_be_read_are_in_the_report():
    sessions = [*(session(number) for number in range(20)), {"messages": [HumanMessage("alone")]}]
    data = TrainingDataConverter().invoke([*sessions, session(77, "half \ud800")])
    assert data.rejected_by_reason == {"no_answer": 1, "not_json": 1}
    assert report_of(data)[-2:] == [
        {"run_id": "session-21", "status": "rejected", "reason": "no_answer"},
        {"run_id": "run-77", "status": "rejected", "reason": "not_json"},
    ]


def test_rows_that_are_streamed_in_as_lists_are_all_converted():
    def generate(_):
        for start in range(0, 30, 10):
            yield [session(number) for number in range(start, start + 10)]

    (data,) = (RunnableGenerator(generate) | TrainingDataConverter()).stream(None)
    assert data.num_runs == 30


@pytest.mark.parametrize("given", [7, None, {"messages": []}])
def test_what_is_no_source_of_sessions_is_refused(given):
    with pytest.raises(SourceError, match="expected what a loader gives"):
        TrainingDataConverter().invoke(given)


def test_an_element_that_is_no_session_is_named_by_its_place():
    with pytest.raises(SourceError, match="element 2 is a int"):
        TrainingDataConverter().invoke([session(1), 2])


def test_an_export_instead_of_sessions_says_what_to_put_first(tmp_path):
    path = write_runs(tmp_path / "runs.jsonl", [chat_run(1, "hi")])
    with pytest.raises(SourceError, match=r"put RunExportLoader.*first"):
        TrainingDataConverter().invoke(path)


def test_a_missing_path_is_named():
    with pytest.raises(SourceNotFoundError, match=r"nowhere.jsonl"):
        TrainingDataConverter().invoke("nowhere.jsonl")


@pytest.mark.parametrize(
    ("row", "problem"), [({"a": 1}, "no recorded session"), ({"version": 2}, "has version 2")]
)
def test_a_file_of_something_else_is_refused(tmp_path, row, problem):
    path = write_runs(tmp_path / "x.jsonl", [row])
    with pytest.raises(SourceError, match=f"row 1: .*{problem}"):
        TrainingDataConverter().invoke(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"validation_fraction": -0.1},
        {"test_fraction": 1},
        {"test_fraction": 0.6, "validation_fraction": 0.4},
        {"sed": 1},
    ],
)
def test_unusable_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        TrainingDataConverter(**settings)


# --- as a stage of a pipe -------------------------------------------------------------------------------


class Recorder(BaseTracer):
    def __init__(self):
        super().__init__()
        self.traced = []

    def _persist_run(self, run):
        self.traced.append(run)


def test_the_trace_of_the_pipe_is_small_and_holds_no_row(loader):
    recorder = Recorder()
    (loader | TrainingDataConverter()).invoke({}, config={"callbacks": [recorder]})
    (run,) = recorder.traced
    for child in run.child_runs:
        handles = [*child.inputs.values(), *child.outputs.values()]
        shown = json.dumps([handle.model_dump(mode="json") for handle in handles])
        assert len(shown) < 2000, child.name
        assert "accounting" not in shown


def test_sessions_that_are_handed_over_are_a_handle_in_the_trace():
    recorder = Recorder()
    sessions = (session(number, "secret " + str(number)) for number in range(20))
    TrainingDataConverter().invoke(sessions, config={"callbacks": [recorder]})
    assert "secret" not in str(recorder.traced[0].inputs)


async def test_progress_is_an_event_with_its_counts(loader):
    pipe = loader | TrainingDataConverter()
    events = [event async for event in pipe.astream_events({}, version="v2")]
    (counts,) = [event["data"] for event in events if event["name"] == "langchain_finetune_convert"]
    assert counts.keys() == {"num_train", "num_validation", "num_test", "num_rejected"}
    assert sum(counts.values()) == 103


def test_schemas_and_graph_are_those_of_its_types(loader):
    pipe = loader | TrainingDataConverter()
    assert "num_train" in pipe.get_output_jsonschema()["properties"]
    assert "ChatSessionFile" in TrainingDataConverter().get_input_jsonschema()["$defs"]
    assert "TrainingDataConverter" in [node.name for node in pipe.get_graph().nodes.values()]


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_it_survives_serialization():
    converter = TrainingDataConverter(test_fraction=0.2, seed=3)
    again = load(
        json.loads(dumps(converter)),
        valid_namespaces=["langchain_finetune"],
        allowed_objects=[TrainingDataConverter],
    )
    assert again == converter
