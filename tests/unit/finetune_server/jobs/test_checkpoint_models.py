"""What the server makes of a trainer's checkpoint events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_server.jobs.checkpoint_models import (
    checkpoint_models,
    discard_checkpoints,
    discard_other_epochs,
    with_names,
)
from finetune_server.storage.job_table import NewEvent
from tests.server_records import job, metrics, said

NAME = "ft:base:local:my-suffix:"


def told(step, **data) -> NewEvent:
    return NewEvent(
        message=f"Checkpoint created at step {step}",
        created_at=7,
        data={"phase": "checkpoint", "step": step, **data},
    )


@pytest.fixture
def job_dir(tmp_path):
    for step in (3, 6):
        (tmp_path / "epochs" / f"step-{step}").mkdir(parents=True)
    (tmp_path / "epochs" / "step-3" / "adapter.gguf").write_bytes(b"GGUF")
    return tmp_path


def test_a_checkpoint_is_a_model_named_after_its_step(job_dir):
    events = [metrics(3), told(3, metrics={"train_loss": 0.5}), said("hello"), told(6)]
    models = checkpoint_models(job(suffix="my suffix"), events, job_dir)

    assert list(models) == [3, 6]
    third = models[3]
    assert third.id.startswith(NAME)
    assert third.id.endswith(":ckpt-step-3")
    assert third.adapter_gguf == job_dir / "epochs" / "step-3" / "adapter.gguf"
    assert (third.adapter_dir, third.step, third.metrics) == (
        job_dir / "epochs" / "step-3",
        3,
        {"train_loss": 0.5},
    )
    assert (models[6].adapter_gguf, models[6].metrics) == (None, {})


def test_only_the_events_of_checkpoints_get_a_name(job_dir):
    events = [said("hello"), told(3), metrics(3)]
    models = checkpoint_models(job(), events, job_dir)

    assert [event.message for event in with_names(events, models)] == [
        "hello",
        f"Checkpoint created at step 3 with Snapshot ID: {models[3].id}",
        "Step 3",
    ]


@given(st.one_of(st.none(), st.booleans(), st.text(), st.floats(), st.lists(st.integers())))
def test_a_step_that_is_no_number_makes_no_model(step):
    event = told(step)
    if not isinstance(step, bool):
        assert event.checkpoint_step is None
    with_names([event], {})


def test_what_is_not_offered_is_removed_and_nothing_else(job_dir):
    models = checkpoint_models(job(), [told(3), told(6)], job_dir)
    (job_dir / "epochs" / "step-9.new").mkdir()
    (job_dir / "adapter").mkdir()

    discard_other_epochs(job_dir, [models[3]])
    assert [path.name for path in (job_dir / "epochs").iterdir()] == ["step-3"]
    discard_checkpoints(models.values())
    assert list((job_dir / "epochs").iterdir()) == []
    assert (job_dir / "adapter").exists()
