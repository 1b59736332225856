import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_finetune import RecordedSession, TrainingDataConverter
from langchain_finetune._spool import read_jsonl
from langchain_finetune.converters.collapse import Trajectories, unweighted, weighted
from langchain_finetune.converters.row_facts import Looker

pytestmark = pytest.mark.filterwarnings("default::UserWarning")

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **fields):
    return {"role": "assistant", "content": text, **fields}


def call(number, arguments="{}"):
    function = {"name": "f", "arguments": arguments}
    return assistant(None, tool_calls=[{"id": f"call_{number}", "type": "function", "function": function}])


def result(number, text="ok"):
    return {"role": "tool", "tool_call_id": f"call_{number}", "content": text}


def session(run_id, messages, answer, **fields):
    return RecordedSession(run_id=run_id, messages=messages, answer=answer, **fields)


def agent_loop(trace="t", number_of_steps=3, **fields):
    """The runs of one loop: each repeats the ones before it."""
    messages, runs = [user(f"start {trace}")], []
    for number in range(number_of_steps):
        answer = call(number) if number < number_of_steps - 1 else assistant("done")
        runs.append(
            session(f"{trace}{number}", list(messages), answer, tools=[TOOL], trace_id=trace, **fields)
        )
        messages += [answer, result(number)]
    return runs


def convert(sessions, **settings):
    given = {"validation_fraction": 0, "test_fraction": 0, "min_examples": 1, **settings}
    data = TrainingDataConverter(**given).invoke(sessions)
    return data, list(read_jsonl(data.train)), list(read_jsonl(data.report))


def line_of(row):
    return Looker(lambda _: False).look(row, "").line


def trained(row):
    """The answers that a row is trained on."""
    return [it for it in row["messages"] if it["role"] == "assistant" and it.get("weight") != 0]


@pytest.mark.parametrize("order", [1, -1], ids=["oldest first", "newest first"])
def test_an_agent_loop_is_one_row_that_trains_every_answer(order):
    runs = agent_loop()
    data, rows, report = convert(runs[::order])
    (row,) = rows
    assert row["messages"] == [*runs[-1].messages, runs[-1].answer]
    assert (data.num_train, data.num_merged, data.num_runs) == (1, 2, 3)
    lines = {line["run_id"]: line for line in report}
    assert lines["t2"]["status"] == "kept"
    for run_id in ("t0", "t1"):
        assert lines[run_id] == {"run_id": run_id, "status": "merged", "split": "train", "row": 0}


def test_an_answer_of_the_history_that_no_run_recorded_is_not_trained_on():
    examples = [user("1 + 1"), assistant("2"), user("2 + 2"), assistant("4")]
    _, (row,), _ = convert([session("a", [*examples, user("3 + 3")], assistant("6"))])
    assert [it["weight"] for it in row["messages"] if it["role"] == "assistant"] == [0, 0, 1]
    assert [it["content"] for it in trained(row)] == ["6"]
    assert all("weight" not in it for it in row["messages"] if it["role"] != "assistant")


@pytest.mark.parametrize("weight", [0, 1])
def test_a_row_with_weights_of_its_own_keeps_them(weight):
    history = [user("a"), assistant("b", weight=weight), user("c"), assistant("d"), user("e")]
    given = {"messages": [*history, assistant("f")]}
    line = line_of(given)
    assert json.loads(weighted(line, frozenset())) == given


def test_branches_stay_apart_and_train_what_they_share_once():
    start, *_ = agent_loop()
    history = [*start.messages, start.answer]
    left = session("left", [*history, result(0, "left")], assistant("L"), tools=[TOOL], trace_id="t")
    right = session("right", [*history, result(0, "right")], assistant("R"), tools=[TOOL], trace_id="t")
    data, rows, _ = convert([start, left, right])
    assert (data.num_train, data.num_merged) == (2, 1)
    assert Counter(json.dumps(it.get("content")) for row in rows for it in trained(row)) == {
        "null": 1,
        '"L"': 1,
        '"R"': 1,
    }


def test_last_trains_the_last_answer_alone_and_none_leaves_every_run_as_it_is():
    runs = agent_loop()
    data, (row,), _ = convert(runs, collapse="last")
    assert data.num_merged == 2
    assert [it["content"] for it in trained(row)] == ["done"]
    data, rows, report = convert(runs, collapse="none")
    assert [row["messages"] for row in rows] == [[*it.messages, it.answer] for it in runs]
    assert {line["status"] for line in report} == {"kept"}
    assert data.num_merged == 0


def test_other_tools_make_another_row():
    first, second, *_ = agent_loop()
    other = {**TOOL, "function": {**TOOL["function"], "description": "another"}}
    _, rows, _ = convert([first, session("b", second.messages, second.answer, tools=[TOOL, other])])
    assert len(rows) == 2
    assert [len(trained(row)) for row in rows] == [1, 1]


def test_threads_do_not_continue_each_other_unless_equal_rows_are_one():
    one = [session(f"a{it.run_id}", it.messages, it.answer, thread_id="a") for it in agent_loop()]
    other = [session(f"b{it.run_id}", it.messages, it.answer, thread_id="b") for it in agent_loop()]
    data, rows, _ = convert([*one, *other], deduplicate="none")
    assert len(rows) == 2
    assert [len(trained(row)) for row in rows] == [3, 3]
    data, rows, report = convert([*one, *other])
    assert (data.num_train, data.num_merged, data.num_duplicates) == (1, 2, 3)
    assert {line["row"] for line in report} == {0}


@pytest.mark.parametrize(
    ("answer", "sent_back"),
    [
        (call(0, '{"a": 1, "b": 2}'), call(0, '{"b":2,"a":1}')),
        ({**call(0), "content": ""}, call(0)),
        (call(0), {**call(0), "refusal": None, "content": ""}),
        (assistant([{"type": "text", "text": "hi"}]), assistant("hi")),
    ],
)
def test_an_answer_that_was_sent_back_in_another_form_is_the_same(answer, sent_back):
    follow = result(0) if answer.get("tool_calls") else user("go on")
    runs = [
        session("a", [user("q")], answer, tools=[TOOL]),
        session("b", [user("q"), sent_back, follow], assistant("done"), tools=[TOOL]),
    ]
    data, (row,), _ = convert(runs)
    assert data.num_merged == 1
    assert len(trained(row)) == 2


def test_a_run_that_is_rejected_takes_no_other_with_it():
    first, second, _ = agent_loop()
    broken = session("b", second.messages, assistant(None), tools=[TOOL], trace_id="t")
    _, (row,), report = convert([first, broken])
    assert row["messages"] == [*first.messages, first.answer]
    assert {line["run_id"]: line["status"] for line in report} == {"t0": "kept", "b": "rejected"}


def test_a_trace_is_in_one_split_with_all_that_it_took_in():
    runs = [it for number in range(40) for it in agent_loop(f"t{number}", 4)]
    random.Random(0).shuffle(runs)
    given = {"validation_fraction": 0.2, "test_fraction": 0.2, "min_examples": 1}
    data = TrainingDataConverter(**given).invoke(runs)
    assert (data.num_runs, data.num_merged) == (160, 120)
    splits = {}
    for line in read_jsonl(data.report):
        splits.setdefault(line["run_id"][:-1], set()).add((line["split"], line["row"]))
    assert all(len(places) == 1 for places in splits.values())
    assert data.num_test
    assert data.num_validation


@st.composite
def forests(draw):
    """Runs of several traces; each continues one of its trace, or begins anew; some are equal."""
    runs, texts = [], st.sampled_from("abc")
    for number in range(draw(st.integers(1, 12))):
        parent = draw(st.sampled_from([None, *runs]))
        before = [] if parent is None else [*parent.messages, parent.answer]
        messages = [*before, user(draw(texts))]
        runs.append(
            session(f"run{number}", messages, assistant(draw(texts)), trace_id="t", thread_id=draw(texts))
        )
    return draw(st.permutations(runs))


@settings(deadline=None)
@given(forests(), st.booleans())
def test_every_recorded_answer_is_trained_on_exactly_once(runs, is_one_thread):
    if is_one_thread:
        runs = [session(it.run_id, it.messages, it.answer, trace_id="t") for it in runs]
    targets = Counter()
    data, rows, report = convert(runs)
    for row in rows:
        for index, message in enumerate(row["messages"]):
            if message["role"] == "assistant" and message.get("weight") != 0:
                bare = [{**it, "weight": None} for it in row["messages"][: index + 1]]
                targets[json.dumps(bare)] += 1
    recorded = {json.dumps([{**m, "weight": None} for m in (*it.messages, it.answer)]) for it in runs}
    assert targets == dict.fromkeys(recorded, 1)
    assert len(report) == len(runs) == data.num_train + data.num_merged + data.num_duplicates
    # Nothing that a run holds is anywhere but in the row that the report names.
    lines = {line["run_id"]: line for line in report}
    for run in runs:
        messages = rows[lines[run.run_id]["row"]]["messages"]
        bare = [{key: it[key] for key in ("role", "content")} for it in messages]
        assert bare[: len(run.messages) + 1] == [*run.messages, run.answer]


def test_what_is_left_out_continues_nothing():
    trajectories = Trajectories()
    trajectories.skip()
    trajectories.enter(Looker(lambda _: False).look({"messages": [user("q"), assistant("a")]}, "").ends)
    trajectories.skip()
    assert (trajectories.merges().into, trajectories.merges().targets) == ({}, {})


def test_a_row_that_is_trained_on_whole_has_no_weights():
    row = {"messages": [user("q"), assistant("a"), user("r"), assistant("b")]}
    assert json.loads(weighted(line_of(row), frozenset({0}))) == row
    assert json.loads(unweighted(line_of(row))) == row
    messages = json.loads(weighted(line_of(row), frozenset()))["messages"]
    assert [it.get("weight") for it in messages] == [None, 0, None, 1]
