from pathlib import Path

import pytest

from finetune_server import wire
from finetune_server.storage.records import EventRecord, JobError, ModelRecord
from tests.openai_schemas import check_schema
from tests.server_records import file, job

HYPERPARAMETERS = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0}


def test_a_file_says_when_it_expires_only_if_it_does():
    shown = wire.file_object(file())
    check_schema("OpenAIFile", shown)
    assert "expires_at" not in shown
    assert wire.file_object(file(expires_at=5))["expires_at"] == 5


@pytest.mark.parametrize("error", [None, JobError(code="c", message="m")])
def test_a_job_is_openais(error):
    shown = wire.job_object(
        job(error=error, hyperparameters=HYPERPARAMETERS, metadata={"a": "b"}, suffix="s")
    )
    check_schema("FineTuningJob", shown)
    assert shown["error"] == (error and {"code": "c", "message": "m", "param": None})
    assert shown["method"] == {"type": "supervised", "supervised": {"hyperparameters": HYPERPARAMETERS}}
    assert shown["user_provided_suffix"] == "s"


def test_an_event_is_openais():
    event = EventRecord(
        id="e", job_id="j", created_at=1, level="info", type="metrics", message="m", data={"a": 1}
    )
    check_schema("FineTuningJobEvent", wire.event_object(event))


def test_a_checkpoint_is_openais():
    checkpoint = ModelRecord(
        id="ft:base:local::x:ckpt-step-3",
        base="base",
        adapter_gguf=None,
        adapter_dir=Path("epochs/step-3"),
        job_id=job().id,
        created_at=4,
        step=3,
        metrics={"step": 3, "train_loss": 0.5, "train_mean_token_accuracy": 0.25},
    )
    shown = wire.checkpoint_object(checkpoint)
    check_schema("FineTuningJobCheckpoint", shown)
    assert shown["id"].startswith("ftckpt_")
    assert (shown["step_number"], shown["metrics"]) == (3, checkpoint.metrics)
    with pytest.raises(ValueError, match="is no checkpoint"):
        wire.checkpoint_object(ModelRecord(**vars(checkpoint) | {"step": None}))


def test_a_base_tells_its_weights_and_a_tuned_model_its_parent():
    base = ModelRecord(
        id="b",
        base="b",
        adapter_gguf=None,
        adapter_dir=None,
        job_id=None,
        created_at=1,
        max_model_len=64,
        weights_sha256="w",
    )
    tuned = ModelRecord(
        id="ft:b:local::x",
        base="b",
        adapter_gguf=None,
        adapter_dir=Path("/a"),
        job_id="j",
        created_at=1,
        max_model_len=64,
        weights_sha256="w",
    )
    for model in (base, tuned):
        check_schema("Model", wire.model_object(model))
        assert wire.model_object(model)["shutdown_date"] is None
        assert wire.model_object(model)["max_model_len"] == 64
    assert wire.model_object(base)["weights_sha256"] == "w"
    assert "parent" not in wire.model_object(base)
    assert (wire.model_object(tuned)["parent"], wire.model_object(tuned)["job_id"]) == ("b", "j")


def test_lists_are_openais_empty_too():
    one = wire.bounded_list_object([wire.file_object(file())], has_more=True, empty="")
    none = wire.bounded_list_object([], has_more=False, empty="")
    for shown in (one, none):
        check_schema("ListFilesResponse", shown)
    assert (one["first_id"], none["first_id"]) == (file().id, "")
    check_schema("ListPaginatedFineTuningJobsResponse", wire.list_object([], has_more=False))
    assert "has_more" not in wire.list_object([])
