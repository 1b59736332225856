"""Whatever Together, Fireworks and Nebius write is read as what it is, or refused with an error of ours."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.errors import HostError
from langchain_finetune.trainers.hosts import fireworks_wire, together_wire
from langchain_finetune.trainers.hosts.nebius_protocol import deployed_model
from langchain_finetune.trainers.jobs.job_state import JobState, iso_time, read_metrics

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def objects(*names):
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, anything))


event = objects("created_at", "type", "step", "message", "level")


@given(
    objects("id", "status", "model", "model_output_name", "updated_at")
    | st.builds(
        lambda events, status: {"id": "ft-1", "status": status, "events": events},
        anything | st.lists(event),
        st.sampled_from(["error", "completed", "running"]),
    )
)
def test_a_job_of_together_is_read_or_refused(wire):
    try:
        job = together_wire.read_job(wire)
    except HostError:
        return
    assert isinstance(job, JobState)
    assert job.id
    assert job.error_message is None or isinstance(job.error_message, str)


@given(event)
def test_an_event_of_together_has_an_id_that_stays(wire):
    first, second = together_wire.read_event(wire), together_wire.read_event(wire)
    assert first["id"] == second["id"]
    assert first["level"] in ("info", "warn", "error")


@given(objects("train/global_step", "step", "train/loss", "timestamp", "eval/loss"))
def test_a_row_of_figures_of_together_is_read_or_left_out(row):
    read = together_wire.read_metrics_event("ft-1", row)
    assert read is None or read_metrics(read).step is not None


@given(objects("name", "state", "trainingConfig", "status", "completedTime", "jobProgress", "baseModel"))
def test_a_job_of_fireworks_is_read_or_refused(wire):
    fireworks_wire.read_progress(wire)
    try:
        job = fireworks_wire.read_job(wire)
    except HostError:
        return
    assert isinstance(job, JobState)
    assert job.id


@given(anything | st.lists(objects("name", "source", "status")) | st.builds(dict, data=anything))
def test_a_list_of_models_of_nebius_is_read_leniently(answer):
    deployed_model(answer, "ftjob-1", "calc")


@pytest.mark.parametrize(
    ("model", "is_it"),
    [
        ({"name": "b-LoRa:calc-udpd", "source": "ftjob-1:ftckpt_1", "status": "active"}, True),
        ({"name": "b-LoRa:calc-udpd", "source": "ftjob-1:ftckpt_1", "status": "deleted"}, False),
        ({"name": "b-LoRa:calc-udpd", "source": "ftjob-12:ftckpt_1", "status": "active"}, False),
        ({"name": "b-LoRa:calc-2-udpd", "source": "ftjob-1:ftckpt_1", "status": "active"}, False),
    ],
)
def test_a_deployed_model_is_known_by_its_job_and_its_name(model, is_it):
    assert (deployed_model({"data": [model]}, "ftjob-1", "calc") is not None) is is_it
    assert (deployed_model([model], "ftjob-1", "calc") is not None) is is_it


@given(anything)
def test_a_time_is_read_or_left_out(value):
    seconds = iso_time(value)
    assert seconds is None or math.isfinite(seconds)


def test_a_time_is_in_seconds_since_1970():
    assert iso_time("1970-01-01T00:01:00Z") == 60.0


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("JOB_STATE_RE_QUEUEING", "queued"),
        ("JOB_STATE_EARLY_STOPPED", "succeeded"),
        ("JOB_STATE_EXPIRED", "failed"),
        ("JOB_STATE_PAUSED", "paused"),
        ("JOB_STATE_SOMETHING_NEW", "something_new"),
    ],
)
def test_states_of_fireworks_have_openais_names(state, status):
    assert fireworks_wire.read_job({"name": "n", "state": state}).status == status


@pytest.mark.parametrize("digits", [16, 64])
@pytest.mark.parametrize("role", ["train", "validation"])
def test_the_id_of_a_data_set_is_one_that_fireworks_takes(role, digits):
    data_set = fireworks_wire.data_set_id(f"{role}-{'0af1' * (digits // 4)}.jsonl")
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", data_set)
    assert data_set.startswith(f"lcft-{role}-0af1")
