from datetime import UTC, datetime

import pytest

from langchain_finetune.errors import SelectionError
from langchain_finetune.handles import RunSelection
from langchain_finetune.loaders._selection import Sieve, empty_selection, merge, refuse_queries
from tests.fakes.recorded_runs import chat_run


def takes(selection, run, root_feedback=None):
    return Sieve(RunSelection(**selection)).takes(run, root_feedback or {})


def run_with(**fields):
    metadata = fields.pop("metadata", {})
    run = chat_run(1, "hi", **fields)
    run["extra"]["metadata"] = metadata
    return run


RATED = {"user_score": {"n": 1, "avg": 1.0}}


@pytest.mark.parametrize(
    ("selection", "run", "expected"),
    [
        ({}, run_with(), True),
        ({"run_name": "ChatOpenAI"}, run_with(), True),
        ({"run_name": "ChatAnthropic"}, run_with(), False),
        ({"model": "gpt-4o-mini"}, run_with(), True),
        ({"model": "gpt-4o"}, run_with(), False),
        ({"tags": ["a"]}, run_with(tags=["a", "b"]), True),
        ({"tags": ["a", "c"]}, run_with(tags=["a", "b"]), False),
        ({"tags": ["a"]}, run_with(tags=None), False),
        ({"metadata": {"env": "prod"}}, run_with(metadata={"env": "prod", "x": 1}), True),
        ({"metadata": {"env": "prod"}}, run_with(metadata={"env": "dev"}), False),
        ({"metadata": {"env": None}}, run_with(), False),
        ({"project_name": "p"}, run_with(session_name="p"), True),
        ({"project_name": "p"}, run_with(session_name="q"), False),
        ({"feedback": {"user_score": 1}}, run_with(feedback_stats=RATED), True),
        ({"feedback": {"user_score": 1}}, run_with(), False),
        ({}, run_with(metadata={"langchain_finetune": "ftjob-1"}), False),
        ({"include_tuned": True}, run_with(metadata={"langchain_finetune": "ftjob-1"}), True),
    ],
)
def test_each_field_narrows_the_selection(selection, run, expected):
    assert takes(selection, run) is expected


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ("2026-01-05T10:00:00", True),
        ("2026-01-05T10:00:00Z", True),
        ("2026-01-05T09:59:59.9", False),
        ("2026-01-05T11:00:00+01:00", True),
        ("2026-01-05T12:00:00", False),
        (datetime.fromisoformat("2026-01-05T11:00:00"), True),
        (datetime(2026, 1, 5, 11, tzinfo=UTC).timestamp() * 1000, True),
        ("yesterday", False),
        (None, False),
    ],
)
def test_the_window_includes_its_start_and_not_its_end(started, expected):
    window = {"start_time": "2026-01-05T10:00:00", "end_time": "2026-01-05T12:00:00"}
    assert takes(window, run_with(start_time=started)) is expected


@pytest.mark.parametrize(
    ("own", "root", "expected"),
    [(None, 1.0, True), (None, 0.0, False), (0.0, 1.0, False), (1.0, 0.0, True), (None, None, False)],
)
def test_feedback_of_the_run_counts_before_that_of_its_root(own, root, expected):
    stats = None if own is None else {"user_score": {"n": 1, "avg": own}}
    feedback = {} if root is None else {"user_score": root}
    assert takes({"feedback": {"user_score": 1}}, run_with(feedback_stats=stats), feedback) is expected


def test_every_key_of_feedback_has_to_hold():
    selection = {"feedback": {"user_score": 1, "style": 0.5}}
    assert takes(selection, run_with(feedback_stats=RATED), {"style": 0.5})
    assert not takes(selection, run_with(feedback_stats=RATED), {"style": 0.4})


@pytest.mark.parametrize(
    ("averages", "drop", "keep"),
    [
        ({}, False, True),
        ({"style": 1.0}, False, True),
        ({"user_score": 0.0}, False, False),
        ({"user_score": 1.0}, True, True),
    ],
)
def test_unrated_runs_are_dropped_or_kept(averages, drop, keep):
    for unrated, expected in (("drop", drop), ("keep", keep)):
        assert takes({"feedback": {"user_score": 1}, "unrated": unrated}, run_with(), averages) is expected


def test_with_keep_a_run_that_has_one_of_two_keys_is_rated():
    selection = {"feedback": {"user_score": 1, "style": 1}, "unrated": "keep"}
    assert not takes(selection, run_with(), {"user_score": 1.0})
    assert takes(selection, run_with(), {"user_score": 1.0, "style": 1.0})


def test_a_predicate_gets_all_averages_and_never_none():
    seen = []
    predicate = {"feedback": lambda averages: seen.append(dict(averages)) or True}
    assert takes(predicate, run_with(feedback_stats=RATED), {"style": 0.5, "user_score": 0.0})
    assert seen == [{"style": 0.5, "user_score": 1.0}]
    assert not takes(predicate, run_with())
    assert takes({**predicate, "unrated": "keep"}, run_with())
    assert len(seen) == 1


def test_a_predicate_that_fails_names_the_keys_alone():
    with pytest.raises(SelectionError, match="fails with KeyError on scores of the keys user_score"):
        takes({"feedback": lambda averages: averages["x"]}, run_with(feedback_stats=RATED))


def test_a_selection_with_a_predicate_can_be_dumped_and_has_a_schema():
    def is_good(averages):
        return True

    assert "is_good" in RunSelection(feedback=is_good).model_dump_json()
    assert RunSelection.model_json_schema()["properties"]["feedback"]


def test_with_a_scope_the_root_was_tried_and_the_run_is_not():
    run = run_with(name="x", start_time="2020-01-01")
    selection = {"run_name": "root", "tags": ["a"], "start_time": "2026-01-01", "feedback": {"k": 1}}
    assert not takes(selection, run)
    assert takes({**selection, "scope": "trace"}, run)
    assert not takes({**selection, "scope": "trace", "model": "gpt-4o"}, run)


def test_corrections_only_leaves_out_what_has_none():
    sieve = Sieve(RunSelection(corrections="only"))
    assert not sieve.takes(run_with(), {})
    assert sieve.takes(run_with(), {}, is_corrected=True)
    assert sieve.removed == {"corrections": 1}


def test_a_sample_is_about_its_share_and_the_same_every_time():
    runs = [chat_run(number, "hi") for number in range(1000)]
    sieves = [Sieve(RunSelection(sample=0.3, seed=seed)) for seed in (1, 1, 2)]
    taken = [[run["id"] for run in runs if sieve.takes(run, {})] for sieve in sieves]
    assert taken[0] == taken[1] != taken[2]
    assert 240 < len(taken[0]) < 360


def test_a_sample_takes_whole_traces():
    sieve = Sieve(RunSelection(sample=0.5))
    runs = [chat_run(number, "hi", trace_id="one") for number in range(20)]
    assert len({sieve.takes(run, {}) for run in runs}) == 1


def test_a_limit_counts_what_it_leaves_out():
    sieve = Sieve(RunSelection(limit=2))
    assert [sieve.takes(chat_run(number, "hi"), {}) for number in range(3)] == [True, True, False]
    assert (sieve.num_seen, sieve.removed) == (3, {"limit": 1})


def test_input_overrides_settings_field_by_field():
    settings = RunSelection(run_name="a", model="m")
    assert merge(settings, {"run_name": "b"}) == RunSelection(run_name="b", model="m")
    assert merge(settings, RunSelection(model="n")) == RunSelection(run_name="a", model="n")
    assert merge(settings, RunSelection(run_name=None)) == RunSelection(model="m")
    assert merge(settings, None) == merge(settings, {}) == settings


@pytest.mark.parametrize("given", [{"run_nam": "a"}, {"limit": 0}, {"sample": 2}])
def test_an_unusable_selection_names_the_field(given):
    with pytest.raises(SelectionError, match=f"{next(iter(given))}: .*Its fields are project_name"):
        merge(RunSelection(), given)


def test_what_is_no_selection_is_refused():
    with pytest.raises(SelectionError, match="got int"):
        merge(RunSelection(), 3)


@pytest.mark.parametrize(
    "field",
    [
        {"filter": "eq(name, 'x')"},
        {"trace_filter": "eq(name, 'x')"},
        {"tree_filter": "eq(name, 'x')"},
        {"scope": "thread"},
        {"corrections": "prefer"},
        {"snapshot": "july"},
    ],
)
def test_a_query_is_refused_with_the_way_out(field):
    with pytest.raises(
        SelectionError, match=f"cannot evaluate {next(iter(field))}.*Use LangSmithRunChatLoader"
    ):
        refuse_queries(RunSelection(**field), "the export runs.jsonl")


def test_an_empty_selection_says_which_condition_removed_how_many():
    sieve = Sieve(RunSelection(run_name="x", tags=("a",)))
    for run in (chat_run(1, "hi"), chat_run(2, "hi"), chat_run(3, "hi", name="x")):
        sieve.takes(run, {})
    message = str(empty_selection(sieve, "runs.jsonl"))
    assert "none of the 3 chat-model runs of runs.jsonl: run_name removed 2, tags removed 1" in message
    assert "no chat-model run" in str(empty_selection(Sieve(RunSelection()), "runs.jsonl"))
