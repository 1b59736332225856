"""What the trainer is asked and what it answers."""

import json
from pathlib import Path

import pytest

from finetune_server.training.errors import TrainingError
from finetune_server.training.job import failure, read_job, write_result

ASKED = {
    "version": 1,
    "job_id": "ftjob-1",
    "attempt": 2,
    "base": "smollm2-135m-instruct",
    "bases_dir": "/state/bases",
    "training_file": "/state/jobs/1/training.jsonl",
    "validation_file": None,
    "method": "supervised",
    "hyperparameters": {"n_epochs": "auto"},
    "seed": 7,
}


def ask(tmp_path, **changes) -> None:
    (tmp_path / "job.json").write_text(json.dumps(ASKED | changes))


def test_a_job_is_read(tmp_path):
    ask(tmp_path, validation_file="/state/jobs/1/validation.jsonl")

    job = read_job(tmp_path)

    assert job.directory == tmp_path
    assert (job.job_id, job.attempt, job.seed) == ("ftjob-1", 2, 7)
    assert job.bases_dir == Path("/state/bases")
    assert job.validation_file == Path("/state/jobs/1/validation.jsonl")
    assert job.hyperparameters == {"n_epochs": "auto"}


@pytest.mark.parametrize("changes", [{"method": "dpo"}, {"version": 2}])
def test_what_this_version_cannot_do_is_refused(tmp_path, changes):
    ask(tmp_path, **changes)

    with pytest.raises(TrainingError) as caught:
        read_job(tmp_path)

    assert (caught.value.code, caught.value.param) == ("unsupported_method", "method")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}'])
def test_a_file_that_is_no_job_is_an_error(tmp_path, text):
    (tmp_path / "job.json").write_text(text)

    with pytest.raises(ValueError):  # noqa: PT011 - the parser's own message or ours
        read_job(tmp_path)


def test_results_appear_whole(tmp_path):
    write_result(
        tmp_path, failure(TrainingError("No rows.", code="invalid_training_file", param="training_file"))
    )

    assert json.loads((tmp_path / "result.json").read_text()) == {
        "version": 1,
        "status": "failed",
        "error": {"code": "invalid_training_file", "message": "No rows.", "param": "training_file"},
    }
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
