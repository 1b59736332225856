import json
import os
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_finetune.converters.duplicates.conversation_text import read_text, similarity
from langchain_finetune.converters.duplicates.near_duplicates import NearDuplicates
from langchain_finetune.errors import MissingExtraError

SYSTEM = (
    "You are the assistant of a shop that sells tents, stoves and boots. Answer briefly and politely. " * 5
)
TOOL = {"type": "function", "function": {"name": "refund", "description": SYSTEM, "parameters": {}}}
LETTER = (
    "I ordered a tent for four people last month and it arrived with a broken pole and without the bag that "
    "the page on your site promises, so I would like to have another one, or the money back if there is none"
)


def row(question, answer="ok", *, history=(), **fields):
    messages = [
        {"role": "system", "content": SYSTEM},
        *history,
        {"role": "user", "content": question},
        answer if isinstance(answer, dict) else {"role": "assistant", "content": answer},
    ]
    return {"messages": messages, "tools": [TOOL], **fields}


def call(**arguments):
    function = {"name": "refund", "arguments": json.dumps(arguments)}
    return {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}


def firsts(*rows, threshold=0.8):
    duplicates = NearDuplicates(threshold)
    return [duplicates.first_of(it, position) for position, it in enumerate(rows)]


def test_rows_that_differ_in_a_word_in_case_and_in_punctuation_are_near():
    assert firsts(
        row(LETTER), row(f"{LETTER}!"), row(LETTER.upper()), row(LETTER.replace("tent", "tarp"))
    ) == [0, 0, 0, 0]


def test_other_rows_are_not_though_prompt_and_tools_are_the_same():
    assert firsts(row("Where is my tent?"), row("Do you sell boots?"), row("Where is my stove?")) == [0, 1, 2]


def test_a_template_with_other_numbers_in_the_answer_is_another_row():
    rows = [
        row(f"{LETTER}, order {n}", f"I am sorry! I have sent another tent for {n}.") for n in (17, 18, 17)
    ]
    assert firsts(*rows) == [0, 1, 0]


def test_a_question_with_another_number_and_the_same_answer_is_near():
    assert firsts(*(row(f"{LETTER}, order {number}", "complaint") for number in (17, 18))) == [0, 0]


def test_other_arguments_are_another_row_and_the_order_of_their_keys_is_none():
    assert firsts(
        row(LETTER, call(order="C-1", amount=5)),
        row(LETTER, call(order="C-2", amount=5)),
        row(LETTER, call(amount=5, order="C-1")),
        row(LETTER, "I cannot do that."),
    ) == [0, 1, 0, 3]


def test_a_call_earlier_in_the_last_turn_counts_too():
    def loop(order):
        messages = [call(order=order), {"role": "tool", "tool_call_id": "call_1", "content": "done"}]
        made = row(LETTER, "All is well.")
        return {**made, "messages": [*made["messages"][:-1], *messages, made["messages"][-1]]}

    assert firsts(loop("C-1"), loop("C-2"), loop("C-1")) == [0, 1, 0]


def turns(*texts):
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def test_examples_that_all_rows_have_make_none_of_them_near():
    examples = turns(*(f"{LETTER} {number}" for number in range(6)))
    assert firsts(row("Where is my tent?", history=examples), row("Is it open?", history=examples)) == [0, 1]


def test_the_same_last_turn_after_another_history_is_another_row():
    first, second = (
        turns(LETTER, "Shall I send it?"),
        turns("Do you have boots?", "Yes, two pairs. Which one?"),
    )
    assert firsts(
        row("yes", "done", history=first),
        row("yes", "done", history=second),
        row("yes", "done"),
        row("yes", "done", history=turns(LETTER.upper(), "Shall I send it")),
    ) == [0, 1, 2, 0]


def test_a_script_without_spaces_is_compared_by_characters():
    text = "我上个月订购了一顶四人帐篷收到时支架断了也没有你们网站上承诺的袋子所以我想换一顶如果没有就退款"
    assert firsts(row(text), row(text + "。"), row(text[::-1])) == [0, 0, 2]


def test_of_several_the_most_similar_one_is_named():
    other = " ".join([*LETTER.split()[:-3], "or", "not", "then"])
    assert firsts(row(other), row(LETTER), row(f"{LETTER}."), threshold=0.95) == [0, 1, 1]
    assert firsts(row(other), row(LETTER), row(f"{LETTER}.")) == [0, 0, 0]


def test_preferences_are_compared_by_both_answers():
    def pair(preferred, other):
        return {
            "input": {"messages": [{"role": "user", "content": LETTER}], "tools": [TOOL]},
            "preferred_output": [preferred],
            "non_preferred_output": [other],
        }

    one, two = call(order="C-1"), call(order="C-2")
    assert firsts(pair(one, two), pair(two, one), pair(one, two)) == [0, 1, 0]


def test_the_fields_of_a_row_for_reinforcement_have_to_be_the_same():
    prompts = [{"messages": turns(LETTER), "reference": reference} for reference in ("a", "b", "a")]
    assert firsts(*prompts) == [0, 1, 0]


def test_many_rows_of_one_template_are_all_kept():
    rows = [row(LETTER, call(order=f"C-{number}")) for number in range(300)]
    assert firsts(*rows, *rows) == [*range(300), *range(300)]


def test_many_rows_in_one_band_are_found_again_by_another():
    source = random.Random(0)
    words = LETTER.split()
    # Half of each row is the same: they share bands, and are not near.
    rows = [row(" ".join([*words, *source.choices(SYSTEM.split() + words, k=40)])) for _ in range(150)]
    assert firsts(*rows, *rows)[150:] == firsts(*rows)


def synthetic(number, seed=0):
    """Rows with none to two edited copies each, in any order."""
    source = random.Random(seed)
    vocabulary = [f"word{n}" for n in range(3000)]
    words = lambda least, most: source.choices(vocabulary, k=source.randrange(least, most))  # noqa: E731
    rows = []
    while len(rows) < number:
        question, answer = words(30, 90), words(10, 40)
        rows.append(row(" ".join(question), " ".join(answer)))
        for _ in range(source.randrange(3)):
            share = source.choice([0.005, 0.01, 0.02, 0.05, 0.2])
            edited = [
                " ".join(source.choice(vocabulary) if source.random() < share else word for word in text)
                for text in (question, answer)
            ]
            rows.append(row(*edited))
    source.shuffle(rows)
    return rows[:number]


def test_nearly_all_that_brute_force_finds_in_2000_rows_is_found():
    rows = synthetic(2000)
    found, texts = firsts(*rows), [read_text(it) for it in rows]
    kept: list[int] = []
    hits, misses = 0, 0
    for position, text in enumerate(texts):
        nearest = max((similarity(text, texts[it]) for it in kept), default=0.0)
        if found[position] == position:
            kept.append(position)
            misses += nearest >= 0.8
        else:
            hits += 1
            assert (
                similarity(text, texts[found[position]]) > 0.65
            )  # what the estimate errs by at the threshold
    assert hits > 300
    assert misses / (hits + misses) < 0.03


def test_rows_that_are_kept_take_two_hundred_bytes_each():
    duplicates = NearDuplicates()
    rows = synthetic(3000)
    kept = sum(duplicates.first_of(it, position) == position for position, it in enumerate(rows))
    per_row = (len(duplicates._records) + 4 * len(duplicates._positions)) / kept
    assert per_row == 116
    assert 64 <= 4 * len(duplicates._slots) / kept <= 128


SCRIPT = """
import sys, json
from langchain_finetune.converters.duplicates.near_duplicates import NearDuplicates
duplicates = NearDuplicates()
rows = json.load(sys.stdin)
print([duplicates.first_of(row, position) for position, row in enumerate(rows)])
print(duplicates._records.hex())
"""


def test_another_process_with_another_hash_seed_finds_the_same():
    rows = json.dumps(synthetic(60))
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            input=rows,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


TEXT = st.text(max_size=30)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
        optional={"content": TEXT | st.none() | st.lists(st.fixed_dictionaries({"text": TEXT}), max_size=2)},
    )
    | st.builds(
        lambda arguments: {
            "role": "assistant",
            "tool_calls": [{"function": {"name": "f", "arguments": arguments}}],
        },
        TEXT | st.sampled_from(["NaN", '{"a": 123456789012345678901234567890}', "[" * 2000]),
    ),
    max_size=5,
)


@given(st.lists(MESSAGES, max_size=8))
@settings(deadline=None)
def test_whatever_the_rows_an_equal_one_is_near_and_nearness_is_to_an_earlier_new_one(conversations):
    rows = [{"messages": messages} for messages in conversations]
    found = firsts(*rows, *rows)
    for position, first in enumerate(found):
        assert first <= position
        assert found[first] == first
    assert all(it < len(rows) for it in found)


def test_without_the_extra_the_error_has_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(MissingExtraError, match=r'pip install "langchain-finetune\[near-dup\]"'):
        NearDuplicates()
