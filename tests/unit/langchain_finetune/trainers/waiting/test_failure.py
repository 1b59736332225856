"""Why a job failed, from what the host tells of it."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.errors import (
    ContentPolicyError,
    QuotaExceededError,
    TrainingBlocked,
    TrainingDataError,
    TrainingFailed,
    TrainingFileInvalid,
    TrainingOverQuota,
)
from langchain_finetune.trainers.jobs.job_state import JobState, read_job
from langchain_finetune.trainers.waiting.failure import TrainingFiles, failure_of


def failed(code=None, message=None, param=None):
    return JobState(id="ftjob-1", status="failed", error_code=code, error_message=message, error_param=param)


@pytest.fixture
def files(tmp_path):
    train, validation = tmp_path / "train.jsonl", tmp_path / "validation.jsonl"
    train.write_text("".join(f'{{"messages": "secret of row {n}"}}\n' for n in range(1, 21)))
    validation.write_text('{"messages": "held out"}\n')
    return TrainingFiles(train, validation)


@pytest.mark.parametrize(
    ("code", "kind", "category"),
    [
        ("invalid_training_file", TrainingFileInvalid, TrainingDataError),
        ("invalid_validation_file", TrainingFileInvalid, TrainingDataError),
        ("invalid_file_format", TrainingFileInvalid, TrainingDataError),
        ("invalid_n_examples", TrainingFileInvalid, TrainingDataError),
        ("unsafe_file", TrainingBlocked, ContentPolicyError),
        ("exceeded_quota", TrainingOverQuota, QuotaExceededError),
        ("insufficient_quota", TrainingOverQuota, QuotaExceededError),
        ("training_process_killed", TrainingFailed, TrainingFailed),
        (None, TrainingFailed, TrainingFailed),
    ],
)
def test_each_reason_has_its_class_and_is_a_failed_training_too(code, kind, category):
    error = failure_of(failed(code, "no"), [])
    assert type(error) is kind
    assert isinstance(error, category)
    assert isinstance(error, TrainingFailed)
    assert not error.is_retryable
    assert error.code == code
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("message", "line_number"),
    [
        ("Line 12 is missing key 'messages'", 12),
        ("The job failed due to an invalid training file. Invalid file format. Example 10, message 2", 10),
        ("Example 17 cannot be parsed. Error: expected value at line 1 column 3", 17),
        ("row #3 is bad", 3),
        ("line number 4 is bad", 4),
        ("Training file has 7 example(s), but must have at least 10 examples", None),
        ("line contains invalid json", None),
        ("Line 0", None),
    ],
)
def test_the_row_that_the_host_names_is_found(files, message, line_number):
    error = failure_of(failed("invalid_training_file", message, "training_file"), [], files)
    assert error.line_number == line_number
    assert error.location == (f"{files.train}:{line_number}" if line_number else None)
    assert (error.location or "") in str(error)
    assert "secret" not in str(error)


def test_a_row_of_the_validation_file_lies_there(files):
    error = failure_of(failed("invalid_validation_file", "Example 1 is bad", "validation_file"), [], files)
    assert error.location == f"{files.validation}:1"


def test_a_row_that_is_not_here_has_a_number_and_no_place(files):
    assert failure_of(failed(message="Line 99"), [], files).location is None
    gone = TrainingFiles(files.train.with_name("gone.jsonl"))
    assert failure_of(failed(message="Line 3"), [], gone).line_number == 3


def test_what_the_host_quotes_of_the_row_is_left_out(files):
    said = 'Example 2 is bad. Error: invalid json: {"messages": "secret of row 2"}'
    error = failure_of(failed("invalid_training_file", said), [], files)
    assert "secret" not in str(error)
    assert "Example 2 is bad" in str(error)


@pytest.mark.parametrize(
    "data",
    [
        {"hate": {"blocked": True}, "violence": {"blocked": False}},
        {"results": [{"category": "hate", "passed": False}, {"category": "violence", "passed": True}]},
        {"hate": "failed", "violence": "passed"},
        {"blocked": ["hate"], "passed": ["violence"]},
    ],
)
def test_what_moderation_blocked_is_told_however_the_event_says_it(data):
    event = {
        "id": "e",
        "type": "moderation_checks",
        "level": "error",
        "message": "Checks failed",
        "data": data,
    }
    error = failure_of(failed(), [event])
    assert isinstance(error, TrainingBlocked)
    assert error.categories == ("hate",)
    assert "for hate" in str(error)


def test_what_moderation_blocked_is_found_in_its_words():
    error = failure_of(failed("unsafe_file", "too many examples were flagged for sexual/minors, hate"), [])
    assert error.categories == ("hate", "sexual/minors")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["hate", "blocked", "line 3"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["code", "message", "param"]), JSON),
    st.lists(st.dictionaries(st.sampled_from(["type", "level", "message", "data"]), JSON), max_size=3),
)
def test_any_failure_is_told_without_a_crash(error, events):
    job = read_job({"id": "ftjob-1", "status": "failed", "error": error})
    for kind in ({}, {"type": "moderation_checks"}):
        assert "ftjob-1 failed" in str(failure_of(job, [{**event, **kind} for event in events]))
