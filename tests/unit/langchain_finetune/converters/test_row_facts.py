import json

from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.converters import row_facts
from langchain_finetune.converters.collapse import unweighted
from langchain_finetune.converters.duplicates.deduplicate import digest
from langchain_finetune.converters.row_facts import SLOT, Looker

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
MESSAGES = st.builds(
    lambda role, content, name: {"role": role, "content": content, **({"name": name} if name else {})},
    st.sampled_from(["system", "user", "assistant"]),
    TEXTS,
    TEXTS,
)
ROWS = st.builds(
    lambda messages, answer, tools: {
        "messages": [*messages, {"role": "assistant", "content": answer}],
        **({"tools": tools} if tools else {}),
    },
    st.lists(MESSAGES, max_size=5),
    TEXTS,
    st.lists(st.dictionaries(TEXTS, TEXTS, max_size=2), max_size=2),
)


def look(row, scope=""):
    return Looker(lambda _: False).look(row, scope)


def reordered(value):
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(it) for it in value] if isinstance(value, list) else value


@given(ROWS)
def test_the_line_is_the_row_with_a_slot_in_each_assistant_message(row):
    line = look(row).line
    assert json.loads(unweighted(line)) == row
    assert line.count(SLOT) == sum(it["role"] == "assistant" for it in row["messages"])


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_what_is_remembered_of_a_part_changes_no_fact(rows):
    looker = Looker(lambda part: b"a" in part)
    for row in [*rows, *rows]:
        assert looker.look(row, "t") == Looker(lambda part: b"a" in part).look(row, "t")


@given(ROWS, ROWS)
def test_the_digests_are_those_of_the_content_and_not_of_the_order_of_keys(left, right):
    one, other = look(left), look(right)
    assert (one.content == other.content) == (left == right)
    assert (one.prompt == other.prompt) == (left["messages"][:-1] == right["messages"][:-1])
    turned = look(reordered(left))
    assert (turned.content, turned.prompt, turned.schemas) == (one.content, one.prompt, one.schemas)


@given(ROWS)
def test_a_row_keeps_its_place_whatever_version_made_the_digest(row):
    # The place of a row in the splits is a hash of this digest: with another one rows would change sides.
    assert look(row).prompt == digest(row["messages"][:-1])


def test_what_is_kept_of_parts_is_bounded(monkeypatch):
    monkeypatch.setattr(row_facts, "_MAX_KEPT_BYTES", 1000)
    looker = Looker(lambda _: False)
    for number in range(200):
        looker.look({"messages": [{"role": "user", "content": f"{number} {'x' * 50}"}]}, "")
    assert sum(map(len, looker._parts)) <= 2000
