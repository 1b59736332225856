import json

import pytest

from finetune_server.config import Settings
from finetune_server.jobs.outcome import Failed, Succeeded, keep_result_file, model_of, read_outcome
from tests.server_records import job

WON = {
    "version": 1,
    "status": "succeeded",
    "trained_tokens": 7,
    "steps": 2,
    "adapter_dir": "adapter",
    "adapter_gguf": "adapter.gguf",
    "result_csv": "metrics.csv",
}


@pytest.fixture
def job_dir(tmp_path):
    (tmp_path / "job" / "adapter").mkdir(parents=True)
    (tmp_path / "job" / "adapter.gguf").write_bytes(b"x")
    (tmp_path / "job" / "metrics.csv").write_bytes(b"step\n1\n")
    return tmp_path / "job"


def outcome_of(job_dir, result):
    content = result if isinstance(result, bytes) else json.dumps(result).encode()
    (job_dir / "result.json").write_bytes(content)
    return read_outcome(job_dir)


def test_without_a_result_there_is_no_outcome(job_dir):
    assert read_outcome(job_dir) is None


def test_a_success_names_what_the_trainer_left(job_dir):
    outcome = outcome_of(job_dir, WON)
    assert outcome == Succeeded(
        trained_tokens=7,
        steps=2,
        adapter_dir=job_dir / "adapter",
        adapter_gguf=job_dir / "adapter.gguf",
        result_csv=job_dir / "metrics.csv",
    )


def test_a_failure_tells_its_reason(job_dir):
    told = {"status": "failed", "error": {"code": "c", "message": "m", "param": "training_file"}}
    error = outcome_of(job_dir, told).error
    assert (error.code, error.message, error.param) == ("c", "m", "training_file")


@pytest.mark.parametrize(
    "result",
    [
        b"",
        b"{",
        b"\xff",
        [],
        {},
        {"status": "failed"},
        {"status": "failed", "error": {"message": 1}},
        WON | {"adapter_dir": "gone"},
        WON | {"adapter_dir": "../../etc"},
        WON | {"adapter_dir": None},
        WON | {"trained_tokens": "7"},
    ],
)
def test_a_result_that_makes_no_sense_is_a_failure_with_a_reason(job_dir, result):
    outcome = outcome_of(job_dir, result)
    assert isinstance(outcome, Failed)
    assert outcome.error.code == "training_result_unreadable"


def test_a_path_out_of_the_jobs_directory_is_not_followed(job_dir, tmp_path):
    (tmp_path / "secret").write_text("x")
    (job_dir / "link").symlink_to(tmp_path / "secret")
    for name in ("../secret", str(tmp_path / "secret"), "link"):
        assert outcome_of(job_dir, WON | {"result_csv": name}).result_csv is None


def test_the_result_file_is_kept_under_one_id_however_often(job_dir, tmp_path):
    settings = Settings(state_dir=tmp_path)
    settings.make_directories()
    outcome = outcome_of(job_dir, WON)
    first = keep_result_file(job(), outcome, settings, now=5)
    assert keep_result_file(job(), outcome, settings, now=5) == first
    assert settings.file_path(first.id).read_bytes() == b"step\n1\n"
    assert (first.bytes, first.purpose) == (7, "fine-tune-results")
    assert list(settings.incoming_dir.iterdir()) == []
    assert keep_result_file(job(), outcome_of(job_dir, WON | {"result_csv": None}), settings, now=5) is None


def test_the_model_is_named_after_base_and_suffix(job_dir):
    model = model_of(job(suffix="s"), outcome_of(job_dir, WON), now=5)
    assert model.id.startswith("ft:base:local:s:")
    assert (model.base, model.job_id, model.adapter_dir) == ("base", job().id, job_dir / "adapter")
