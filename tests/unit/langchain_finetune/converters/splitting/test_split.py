from collections import Counter, defaultdict

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from langchain_finetune.converters.duplicates.deduplicate import digest
from langchain_finetune.converters.splitting.groups import STRENGTH
from langchain_finetune.converters.splitting.split import Groups, Sizes, plan_splits

TENTHS = {"validation": 0.1, "test": 0.1}


def assign(rows, *, fractions=TENTHS, seed=0, min_train=1, pins=None):
    """Return the split of each row: (prompt, number of messages, thread); pins are splits by position."""
    groups = Groups()
    nodes = [
        groups.join(digest(prompt), length, [digest(f"thread:{thread}")]) for prompt, length, thread in rows
    ]
    for position, split in (pins or {}).items():
        groups.pin(nodes[position], split)
    roots = [groups.root(node) for node in nodes]
    sizes = Sizes(groups)
    for node in nodes:
        sizes.add(node)
    plan = plan_splits(groups, sizes, fractions=fractions, seed=seed, min_train=min_train)
    return [plan.splits[root] for root in roots], plan, roots


def singles(count):
    return [(f"question {number}", 2, f"thread {number}") for number in range(count)]


def test_the_shares_are_about_what_was_asked_for():
    splits, plan, _ = assign(singles(2000))
    counts = Counter(splits)
    assert 150 < counts["test"] < 250
    assert 150 < counts["validation"] < 250
    assert plan.num_moved == 0


def test_another_seed_is_another_split():
    assert assign(singles(100), seed=1)[0] != assign(singles(100), seed=2)[0]


def test_nothing_is_held_out_that_was_not_asked_for():
    assert set(assign(singles(500), fractions={"validation": 0.0, "test": 0.0})[0]) == {"train"}
    assert set(assign(singles(500), fractions={"validation": 0.0, "test": 0.2})[0]) == {"train", "test"}


ROWS = st.lists(
    st.tuples(st.integers(0, 12).map(str), st.integers(1, 3), st.integers(0, 12).map(str)),
    min_size=1,
    max_size=40,
)


@given(ROWS, st.integers(0, 5))
@settings(deadline=None)
def test_rows_that_share_a_prompt_or_a_thread_are_never_in_two_splits(rows, seed):
    splits, _, _ = assign(rows, seed=seed)
    for column in (0, 2):
        by_key = defaultdict(set)
        for row, split in zip(rows, splits, strict=True):
            by_key[row[column]].add(split)
        assert all(len(found) == 1 for found in by_key.values())


@given(ROWS, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_rows_makes_no_difference(rows, random):
    # A prompt has one length; drawn rows may contradict that, real ones cannot.
    rows = [(prompt, 1 + int(prompt) % 3, thread) for prompt, _, thread in rows]
    shuffled = list(rows)
    random.shuffle(shuffled)
    before = dict(zip(rows, assign(rows)[0], strict=True))
    after = dict(zip(shuffled, assign(shuffled)[0], strict=True))
    assert before == after


@given(st.integers(40, 200), st.integers(0, 200), st.integers(0, 9))
@settings(deadline=None, max_examples=50)
def test_rows_stay_where_they_are_as_data_grows(count, more, seed):
    rows = singles(count)
    # New threads; further and longer turns of known threads; known questions in new threads.
    new = singles(count + more)[count:]
    new += [(f"turn {number}", 4, f"thread {number % count}") for number in range(more)]
    new += [(f"question {number % count}", 2, f"again {number}") for number in range(more)]
    before, plan, _ = assign(rows, seed=seed)
    assume(plan.num_moved == 0 and _is_natural(rows, seed))
    assert assign([*rows, *new], seed=seed)[0][:count] == before


def _is_natural(rows, seed):
    """No split was filled from its neighbour because it would have been empty."""
    groups = Groups()
    places = [groups.place(groups.join(digest(prompt), length, []), seed) for prompt, length, _ in rows]
    return any(place < 0.1 for place in places) and any(0.1 <= place < 0.2 for place in places)


@given(st.integers(12, 40), st.integers(0, 50))
@settings(deadline=None)
def test_a_split_that_was_asked_for_is_never_empty_where_rows_are_enough(count, seed):
    splits, _, _ = assign(singles(count), seed=seed, min_train=10)
    assert set(splits) == {"train", "validation", "test"}
    assert splits.count("train") >= 10


@given(st.integers(10, 40), st.integers(0, 50), st.floats(0.05, 0.45))
@settings(deadline=None)
def test_training_never_falls_under_its_minimum(count, seed, fraction):
    fractions = {"validation": fraction, "test": fraction}
    splits, plan, _ = assign(singles(count), fractions=fractions, seed=seed, min_train=10)
    assert splits.count("train") >= 10
    assert (plan.num_moved == 0) or splits.count("train") <= 12


def test_with_eleven_rows_the_test_split_comes_before_validation():
    splits, _, _ = assign(singles(11), min_train=10)
    assert Counter(splits) == {"train": 10, "test": 1}


@pytest.mark.parametrize("seed", range(20))
def test_a_group_of_most_rows_is_never_held_out(seed):
    rows = [("hello", 1, f"greeting {number}") for number in range(30)] + singles(20)
    splits, _, _ = assign(rows, seed=seed)
    assert set(splits[:30]) == {"train"}


def test_joined_groups_are_one():
    _, _, roots = assign([("a", 2, "x"), ("b", 2, "y"), ("c", 2, "z"), ("b", 2, "x"), ("c", 2, "y")])
    assert len(set(roots)) == 1


def test_sizes_are_what_a_counter_counts():
    groups = Groups()
    nodes = [groups.join(digest(it), 1, [digest(it % 3)]) for it in [*range(20), 4, 4]]
    sizes, counter = Sizes(groups), Counter(groups.root(node) for node in nodes)
    for node in nodes:
        sizes.add(node)
    assert dict(sizes.items()) == counter
    assert (sizes.total(), len(sizes)) == (22, 3) == (counter.total(), len(counter))
    by_counter = plan_splits(groups, counter, fractions=TENTHS, seed=0, min_train=1)
    by_sizes = plan_splits(groups, sizes, fractions=TENTHS, seed=0, min_train=1)
    assert {root: by_counter.splits[root] for root in counter} == {
        root: by_sizes.splits[root] for root in counter
    }


def test_the_place_of_a_group_is_what_it_always_was():
    """Data that were made by an earlier version keep their splits."""
    groups = Groups()
    node = groups.join(digest("question 1"), 2, [digest("thread:1")])
    assert groups.place(groups.root(node), 0) == 0.12651123776597076


PINS = st.dictionaries(st.integers(0, 39), st.sampled_from(STRENGTH), max_size=20)


@given(ROWS, PINS, st.integers(0, 5), st.sampled_from([TENTHS, {"validation": 0.0, "test": 0.0}]))
@settings(deadline=None)
def test_what_was_held_out_is_never_trained_on(rows, pins, seed, fractions):
    pins = {position: split for position, split in pins.items() if position < len(rows)}
    splits, plan, roots = assign(rows, seed=seed, pins=pins, fractions=fractions, min_train=5)
    strongest, met = {}, defaultdict(set)
    for position, split in pins.items():
        root = roots[position]
        met[root].add(split)
        strongest[root] = max(strongest.get(root, "train"), split, key=STRENGTH.index)
    for root, split in zip(roots, splits, strict=True):
        assert split == strongest.get(root, split)
    assert plan.num_pinned == sum(root in strongest for root in roots)
    assert plan.num_conflicts == sum(len(it) > 1 for it in met.values())
    assert plan.num_train == splits.count("train")


@given(ROWS, ROWS, st.integers(0, 5))
@settings(deadline=None)
def test_pinned_rows_stay_whatever_joins_them(rows, more, seed):
    before, _, _ = assign(rows, seed=seed)
    after, again, _ = assign([*rows, *more], seed=seed + 1, pins=dict(enumerate(before)), min_train=30)
    if not again.num_conflicts:
        assert after[: len(rows)] == before
    for was, now in zip(before, after, strict=False):
        assert STRENGTH.index(now) >= STRENGTH.index(was)


def test_pinned_rows_fill_no_empty_split_and_are_not_given_back():
    rows = singles(12)
    splits, plan, _ = assign(rows, pins=dict.fromkeys(range(12), "test"), min_train=10)
    assert set(splits) == {"test"}
    assert (plan.num_moved, plan.num_train, plan.num_pinned) == (0, 0, 12)
    splits, _, _ = assign(rows, pins=dict.fromkeys(range(12), "train"), min_train=2)
    assert set(splits) == {"train"}
