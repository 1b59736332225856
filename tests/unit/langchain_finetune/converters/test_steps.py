"""The steps that are asked for, through the whole converter: near duplicates, balance, pins, target."""

import pytest
from pydantic import ValidationError

from langchain_finetune import RecordedSession, TrainingDataConverter
from langchain_finetune._spool import read_jsonl
from langchain_finetune.errors import UnknownProviderError

pytestmark = pytest.mark.filterwarnings("default::UserWarning")

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        },
    }
    for name in ("add", "subtract")
]


def user(text):
    return {"role": "user", "content": text}


def session(number, question=None, answer=None, **fields):
    return RecordedSession(
        run_id=f"r{number}",
        messages=[user(question or f"question {number}")],
        answer=answer or {"role": "assistant", "content": f"answer {number}"},
        **fields,
    )


def call(name, arguments='{"a": 1}'):
    function = {"name": name, "arguments": arguments}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }


def convert(sessions, **settings):
    given = {"min_examples": 1, "validation_fraction": 0, "test_fraction": 0, **settings}
    data = TrainingDataConverter(**given).invoke(sessions)
    lines = {line["run_id"]: line for line in read_jsonl(data.report)}
    assert len(lines) == data.num_runs == len(sessions)
    return data, list(read_jsonl(data.train)), lines


TEXT = "please tell me in a few words where the parcel with my new touring bicycle is and when it will arrive"


def test_a_row_that_nearly_equals_an_earlier_one_is_a_duplicate_of_it():
    answer = {"role": "assistant", "content": "It is on its way and arrives on Friday in the afternoon."}
    sessions = [
        session(0, TEXT, answer),
        session(1, f"{TEXT} thanks", answer),
        session(2, "something else entirely that nobody asked before", answer),
    ]
    data, rows, lines = convert(sessions, deduplicate="near")
    assert (len(rows), data.num_duplicates) == (2, 1)
    assert lines["r1"] == {
        "run_id": "r1",
        "status": "duplicate",
        "split": "train",
        "row": 0,
        "reason": "near_duplicate",
    }
    assert convert(sessions)[0].num_duplicates == 0


def test_calls_of_one_loop_are_no_near_duplicates_of_each_other():
    history, runs = [user(TEXT)], []
    for number in range(4):
        answer = call("add", f'{{"a": {number}}}')
        runs.append(
            RecordedSession(
                run_id=f"r{number}", messages=list(history), answer=answer, tools=TOOLS, trace_id="t"
            )
        )
        history += [answer, {"role": "tool", "tool_call_id": "call_1", "content": "ok"}]
    data, rows, lines = convert(runs, deduplicate="near")
    assert (len(rows), data.num_merged, data.num_duplicates) == (1, 3, 0)
    trained = [it for it in rows[0]["messages"] if it["role"] == "assistant" and it.get("weight") != 0]
    assert len(trained) == 4
    assert {line["row"] for line in lines.values()} == {0}


def test_parts_of_a_near_duplicate_point_at_the_row_that_stands_for_it():
    answer = {"role": "assistant", "content": "It arrives on Friday."}
    more = {"role": "assistant", "content": "You are welcome, and have a good ride with it."}
    sessions = []
    for number, extra in enumerate(["", " thanks"]):
        opening = [user(f"{TEXT}{extra}")]
        sessions += [
            RecordedSession(run_id=f"r{2 * number}", messages=opening, answer=answer, thread_id=f"t{number}"),
            RecordedSession(
                run_id=f"r{2 * number + 1}",
                messages=[*opening, answer, user("Thank you so much for looking that up for me today")],
                answer=more,
                thread_id=f"t{number}",
            ),
        ]
    _, rows, lines = convert(sessions, deduplicate="near")
    assert len(rows) == 1
    assert {run_id: line["status"] for run_id, line in lines.items()} == {
        "r0": "merged",
        "r1": "kept",
        "r2": "merged",
        "r3": "duplicate",
    }
    assert {line["row"] for line in lines.values()} == {0}


def test_what_is_over_a_cap_or_not_in_the_sample_is_dropped_and_says_so():
    sessions = [session(it, answer=call("add" if it % 4 else "subtract"), tools=TOOLS) for it in range(40)]
    data, rows, lines = convert(sessions, max_per_tool=5)
    names = [row["messages"][-1]["tool_calls"][0]["function"]["name"] for row in rows]
    assert (names.count("add"), names.count("subtract")) == (5, 5)
    assert data.num_dropped == 30
    assert {(line["status"], line.get("reason")) for line in lines.values()} == {
        ("kept", None),
        ("dropped", "over_cap"),
    }
    data, rows, lines = convert(sessions, sample=7)
    assert (len(rows), data.num_dropped) == (7, 33)
    assert "dropped" in data.card.read_text()
    again, _, _ = convert(sessions[::-1], sample=7)
    assert {line["run_id"] for line in read_jsonl(again.report) if line["status"] == "kept"} == {
        run_id for run_id, line in lines.items() if line["status"] == "kept"
    }


def test_a_dropped_row_takes_its_parts_along():
    def loop(number):
        first, answer = user(f"go {number}"), {"role": "assistant", "content": f"one {number}"}
        return [
            RecordedSession(run_id=f"r{2 * number}", messages=[first], answer=answer, thread_id=f"t{number}"),
            RecordedSession(
                run_id=f"r{2 * number + 1}",
                messages=[first, answer, user("on")],
                answer={"role": "assistant", "content": "two"},
                thread_id=f"t{number}",
            ),
        ]

    data, rows, lines = convert([it for number in range(6) for it in loop(number)], sample=2)
    assert (len(rows), data.num_dropped, data.num_merged) == (2, 8, 2)
    for number in range(6):
        pair = {lines[f"r{2 * number}"]["status"], lines[f"r{2 * number + 1}"]["status"]}
        assert pair in ({"merged", "kept"}, {"dropped"})


@pytest.mark.parametrize("settings", [{"sample": 0}, {"sample": 1.5}, {"max_per_label": {"a": 0}}])
def test_a_cap_that_leaves_nothing_is_refused_at_once(settings):
    with pytest.raises(ValidationError, match=r"max_per_label|sample"):
        TrainingDataConverter(**settings)


def test_pinned_rows_stay_where_they_were_with_any_other_seed():
    sessions = [session(it) for it in range(60)]
    first, _, before = convert(sessions, test_fraction=0.3, seed=1)
    more = [*sessions, *[session(it) for it in range(60, 120)]]
    second, _, after = convert(more, test_fraction=0.3, seed=2, pinned=first)
    assert {run_id: after[run_id]["split"] for run_id in before} == {
        run_id: line["split"] for run_id, line in before.items()
    }
    free, _, moved = convert(more, test_fraction=0.3, seed=2)
    assert any(moved[run_id]["split"] != line["split"] for run_id, line in before.items())
    by_name, _, _ = convert(more, test_fraction=0.3, seed=2, pinned=first.fingerprint)
    assert by_name.fingerprint == second.fingerprint != free.fingerprint


def test_a_target_adds_its_rules_and_refuses_what_it_does_not_know():
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    sessions = [session(it) for it in range(12)]
    sessions.append(
        RecordedSession(
            run_id="image",
            messages=[{"role": "user", "content": [image]}],
            answer={"role": "assistant", "content": "a"},
        )
    )
    assert convert(sessions)[2]["image"]["status"] == "kept"
    _, _, lines = convert(sessions, target="openai:gpt-4.1-mini-2025-04-14")
    assert lines["image"]["status"] == "rejected"
    with pytest.raises(UnknownProviderError):
        convert(sessions, target="nowhere:base")


def test_rows_that_are_too_long_are_left_out():
    long = session(99, "word " * 500, usage={"total_tokens": 501})
    short = session(98, "word " * 500, usage={"total_tokens": 90})
    _, rows, lines = convert([session(0), short, long], max_tokens_per_example=100)
    assert len(rows) == 2
    assert (lines["r99"]["status"], lines["r99"]["reason"]) == ("rejected", "too_long")


def test_tokens_that_runs_recorded_are_marked_as_an_estimate():
    data, _, _ = convert([session(0, usage={"total_tokens": 7})])
    assert (data.num_tokens, data.tokens_are_estimated) == (7, True)
    assert "an estimate" in data.card.read_text()
    data, _, _ = convert([session(0)])
    assert (data.num_tokens, data.tokens_are_estimated) == (None, False)


def test_arguments_off_their_schema_are_a_note_on_a_row_that_is_kept():
    sessions = [
        session(0, answer=call("add", '{"b": 1}'), tools=TOOLS),
        session(1, answer=call("add"), tools=TOOLS),
    ]
    _, rows, lines = convert(sessions)
    assert len(rows) == 2
    assert (lines["r0"]["status"], lines["r0"].get("reason")) == ("kept", "arguments_off_schema")
    assert "reason" not in lines["r1"]


def test_other_answers_to_one_prompt_are_kept_and_noted():
    with pytest.warns(UserWarning, match="1 rows answer a prompt otherwise"):
        _, rows, lines = convert([session(0, "q"), session(1, "q")])
    assert len(rows) == 2
    assert lines["r1"]["reason"] == "contradictory"


def test_personal_data_are_taken_out_on_request():
    sessions = [session(it, f"write to jane.doe{it}@example.com about {it}") for it in range(3)]
    data, rows, _ = convert(sessions, redact="pii")
    assert "jane.doe" not in data.train.read_text()
    assert rows[0]["messages"][0]["content"].startswith("write to [EMAIL")
    assert sum(data.redactions.values()) == 3
    assert "jane.doe" in convert(sessions)[0].train.read_text()


def test_a_row_of_no_known_shape_is_rejected_by_its_misshape():
    broken = RecordedSession(
        run_id="b", messages=[{"content": "no role"}], answer={"role": "assistant", "content": "a"}
    )
    _, _, lines = convert([session(0), broken])
    assert lines["b"]["status"] == "rejected"


def test_the_report_has_the_tags_of_the_runs():
    _, _, lines = convert([session(0, tags=["vip", "tab\there"]), session(1)])
    assert lines["r0"]["tags"] == ["vip", "tab\there"]
    assert "tags" not in lines["r1"]
