import hashlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_finetune.converters.balance import (
    NOT_SAMPLED,
    OVER_CAP,
    Balance,
    Labels,
    thin,
)


def row(*tools):
    calls = [{"id": "1", "type": "function", "function": {"name": name, "arguments": "{}"}} for name in tools]
    answer = {"role": "assistant", "tool_calls": calls} if calls else {"role": "assistant", "content": "ok"}
    earlier = {"role": "assistant", "tool_calls": [{"function": {"name": "earlier", "arguments": "{}"}}]}
    return {"messages": [{"role": "user", "content": "?"}, earlier, answer]}


def labels(balance, made, **session):
    return dict(balance.labels_of(made, session))


def digest(key):
    return hashlib.sha256(str(key).encode()).digest()


def thinned(rows, balance, merged=None, group=lambda key: key):
    """Return why each of the rows (a key, and its tags) was dropped."""
    entered = Labels()
    for key, tags in rows:
        entered.enter(digest(key), balance.labels_of(row(), {"tags": tags}))
    positions = [it for it in range(len(rows)) if it not in (merged or {})]
    dropped = thin(positions, entered, balance, lambda position: digest(group(rows[position][0])), merged)
    assert len(dropped) == sum(position in dropped for position in positions)
    assert dropped.count(OVER_CAP) + dropped.count(NOT_SAMPLED) == len(dropped)
    return [dropped[position] for position in range(len(rows))]


def test_a_row_counts_for_the_tools_of_its_answer_and_none_of_its_history():
    assert labels(Balance(max_per_tool=3), row("b", "a", "b")) == {"tool:a": 3, "tool:b": 3}
    assert labels(Balance(max_per_tool=3), row()) == {}
    function = {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": ""}}]}
    assert labels(Balance(max_per_tool=1), function) == {"tool:f": 1}
    pair = {
        "input": {},
        "preferred_output": row("a")["messages"][-1:],
        "non_preferred_output": row("b")["messages"][-1:],
    }
    assert labels(Balance(max_per_tool=1), pair) == {"tool:a": 1, "tool:b": 1}


def test_labels_are_tags_metadata_and_feedback_as_asked_for():
    session = {
        "tags": ["x", "y", "x"],
        "metadata": {"tier": "gold", "n": None},
        "feedback": {"score": 1.0, "n": 2},
    }
    assert labels(Balance(max_per_tag=2), row("a"), **session) == {"tag:x": 2, "tag:y": 2}
    asked = Balance(max_per_label={"tier": 5, "score": 6, "n": 7, "absent": 8})
    assert labels(asked, row(), **session) == {'label:tier="gold"': 5, "label:score=1.0": 6, "label:n=2": 7}
    assert labels(asked, row()) == {}


@pytest.mark.parametrize(
    "given_settings",
    [
        {"max_per_tool": 0},
        {"max_per_tag": -1},
        {"max_per_label": {"tier": 0}},
        {"sample": 0},
        {"sample": 1.5},
        {"sample": -0.1},
        {"sample": True},
    ],
)
def test_what_cannot_be_meant_is_refused(given_settings):
    with pytest.raises(ValueError, match=r"give (the most rows|a share)"):
        Balance(**given_settings)


def test_nothing_asked_for_drops_nothing():
    assert not Balance().is_asked
    assert set(thinned([(number, []) for number in range(9)], Balance())) == {None}


def test_a_sample_is_a_share_or_a_number():
    rows = [(number, []) for number in range(200)]
    assert Counter(thinned(rows, Balance(sample=0.25))) == {NOT_SAMPLED: 150, None: 50}
    assert Counter(thinned(rows, Balance(sample=30))) == {NOT_SAMPLED: 170, None: 30}
    assert set(thinned(rows, Balance(sample=1.0))) == set(thinned(rows, Balance(sample=999))) == {None}
    assert thinned(rows, Balance(sample=30)) != thinned(rows, Balance(sample=30, seed=1))


def test_the_sample_is_of_what_the_caps_leave():
    rows = [(number, ["a"]) for number in range(100)] + [(number, ["b"]) for number in range(100, 110)]
    assert Counter(thinned(rows, Balance(max_per_tag=20, sample=0.5))) == {
        OVER_CAP: 80,
        NOT_SAMPLED: 15,
        None: 15,
    }


def test_a_row_has_the_labels_of_all_runs_that_are_part_of_it():
    rows = [(number, ["a"] if number < 5 else []) for number in range(10)]
    merged = {number: number + 5 for number in range(5)}
    assert Counter(thinned(rows, Balance(max_per_tag=2), merged)[5:]) == {OVER_CAP: 3, None: 2}


TAGGED = st.lists(st.sets(st.sampled_from("abcd"), max_size=3).map(sorted), max_size=40)


@given(TAGGED, st.integers(1, 5))
@settings(deadline=None)
def test_no_label_has_more_rows_than_its_cap_and_no_row_is_dropped_without_need(tags, cap):
    rows = list(enumerate(tags))
    reasons = thinned(rows, Balance(max_per_tag=cap))
    counts = Counter(
        tag for (_, given_tags), why in zip(rows, reasons, strict=True) if not why for tag in given_tags
    )
    assert all(count <= cap for count in counts.values())
    for (_, given_tags), why in zip(rows, reasons, strict=True):
        assert why in {None, OVER_CAP}
        assert bool(why) == any(counts[tag] == cap for tag in given_tags) or not why


@given(TAGGED, st.integers(1, 5), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_rows_makes_no_difference(tags, cap, random):
    rows = list(enumerate(tags))
    shuffled = list(rows)
    random.shuffle(shuffled)
    balance = Balance(max_per_tag=cap, sample=0.5)
    before = dict(zip((key for key, _ in rows), thinned(rows, balance), strict=True))
    assert dict(zip((key for key, _ in shuffled), thinned(shuffled, balance), strict=True)) == before


@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 20))
@settings(deadline=None)
def test_a_row_that_stays_stays_as_data_grow_unless_a_new_one_takes_its_place(count, more, number):
    rows = [(key, ["a"]) for key in range(count + more)]
    for balance in (Balance(sample=number), Balance(max_per_tag=number)):
        before, after = thinned(rows[:count], balance), thinned(rows, balance)
        gone = [key for key in range(count) if not before[key] and after[key]]
        new = [key for key in range(count, count + more) if not after[key]]
        assert all(after[key] for key in range(count) if before[key])  # what was dropped does not come back
        assert len(gone) <= len(new)


@given(st.integers(1, 40), st.integers(1, 10), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_rows_of_one_group_stay_together_before_others_come(count, number, random):
    rows = [(key, []) for key in range(count)]
    random.shuffle(rows)
    staying = Counter(
        key // 5
        for (key, _), why in zip(
            rows, thinned(rows, Balance(sample=number), group=lambda key: key // 5), strict=True
        )
        if not why
    )
    sizes = Counter(key // 5 for key in range(count))
    assert sum(staying[group] < sizes[group] for group in staying) <= 1


def test_rows_of_one_prompt_are_told_apart_by_their_content():
    rows = [(key, []) for key in range(50)]
    before = thinned(rows, Balance(sample=10), group=lambda key: "hello")
    assert thinned(rows[::-1], Balance(sample=10), group=lambda key: "hello") == before[::-1]
