import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_finetune.trainers.jobs.job_state import (
    checkpoint_step,
    event_id,
    event_time,
    read_checkpoint,
    read_job,
    read_metrics,
)

# A machine that is busy with something else is no defect.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_a_job_is_read():
    job = read_job(
        {
            "id": "ftjob-1",
            "status": "succeeded",
            "model": "gpt-4.1",
            "fine_tuned_model": "ft:gpt-4.1:me::a",
            "metadata": {"a": "b", "c": 1},
            "finished_at": 12,
        }
    )
    assert (job.id, job.status, job.base, job.model) == (
        "ftjob-1",
        "succeeded",
        "gpt-4.1",
        "ft:gpt-4.1:me::a",
    )
    assert job.metadata == {"a": "b"}
    assert job.finished_at == 12.0


@pytest.mark.parametrize("error", [None, {}, {"code": None, "message": None, "param": None}, "none"])
def test_a_healthy_job_has_no_error_whatever_its_error_object_is(error):
    job = read_job({"id": "ftjob-1", "status": "running", "error": error})
    assert (job.error_code, job.error_message, job.error_param) == (None, None, None)


@pytest.mark.parametrize("status", ["cancelled", "canceled", "Cancelled", "CANCELED"])
def test_both_spellings_of_cancelled_are_one(status):
    assert read_job({"id": "ftjob-1", "status": status}).status == "cancelled"


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "SUCCEEDED"])
def test_these_states_are_an_end(status):
    assert read_job({"id": "ftjob-1", "status": status}).is_terminal


@pytest.mark.parametrize(
    "status", ["created", "paused", "pausing", "pending", "queued", "running", "validating_files", "odd"]
)
def test_every_other_state_is_none(status):
    job = read_job({"id": "ftjob-1", "status": status})
    assert job.is_live
    assert job.is_known == (status != "odd")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"step": 3, "total_steps": 32, "train_loss": 0.4}, (3, 32, 0.4)),
        ({"step": 3}, (3, None, None)),
        ({"step": 3, "train_loss": float("nan")}, (3, None, None)),
        ({"step": 3, "train_loss": True}, (3, None, None)),
    ],
)
def test_metrics_are_read_and_what_is_no_number_is_none(data, expected):
    metrics = read_metrics({"type": "metrics", "data": data})
    assert (metrics.step, metrics.total_steps, metrics.train_loss) == expected


@pytest.mark.parametrize(
    "event",
    [{"type": "message", "data": {"step": 1}}, {"type": "metrics"}, {"type": "metrics", "data": {}}, {}],
)
def test_an_event_without_a_step_has_no_metrics(event):
    assert read_metrics(event) is None


@UNHURRIED
@given(st.dictionaries(st.sampled_from(["id", "status", "model", "error", "metadata", "finished_at"]), JSON))
def test_any_job_object_is_read_without_a_crash(wire):
    job = read_job(wire)
    assert isinstance(job.id, str)
    assert job.status == job.status.lower()
    json.dumps(dict(job.metadata))


@UNHURRIED
@given(st.dictionaries(st.sampled_from(["type", "data", "created_at"]), JSON | st.just("metrics")))
def test_any_event_is_read_without_a_crash(event):
    metrics = read_metrics(event)
    assert metrics is None or metrics.train_loss is None or math.isfinite(metrics.train_loss)
    at = event_time(event)
    assert at is None or math.isfinite(at)


@UNHURRIED
@given(
    st.dictionaries(
        st.sampled_from(["id", "step_number", "fine_tuned_model_checkpoint", "metrics", "created_at"]), JSON
    ),
    st.dictionaries(st.sampled_from(["id", "created_at", "type", "message", "data"]), JSON),
)
def test_any_checkpoint_and_any_identity_is_read_without_a_crash(wire, event):
    checkpoint = read_checkpoint(wire)
    assert checkpoint is None or all(math.isfinite(figure) for figure in checkpoint.metrics.values())
    assert isinstance(event_id(event), str)
    assert checkpoint_step(event) is None or checkpoint_step(event) >= 0


def test_every_number_of_a_step_is_read_also_one_that_is_written_as_text():
    data = {"step": "3", "train_loss": "0.5", "valid_loss": 0.25, "note": "x", "is_last": True, "bad": "nan"}
    metrics = read_metrics({"type": "metrics", "data": data})
    assert dict(metrics.figures) == {"step": 3, "train_loss": 0.5, "valid_loss": 0.25}
    assert metrics.valid_loss == 0.25


@pytest.mark.parametrize(
    ("message", "step"),
    [
        ("Checkpoint created at step 85 with Snapshot ID: ft:gpt-4.1:me::a:ckpt-step-85", 85),
        ("Checkpoint created at step 4", 4),
        ("Step 4/10: training loss=0.1", None),
        (None, None),
    ],
)
def test_a_checkpoint_is_known_by_its_event(message, step):
    assert checkpoint_step({"message": message}) == step
