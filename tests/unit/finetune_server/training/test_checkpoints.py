"""Checkpoints are whole or not there."""

import json

import pytest

from finetune_server.training.checkpoints import Checkpoint, Checkpoints


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", "this job")


def keep(checkpoints: Checkpoints, tmp_path, *steps: int) -> None:
    for step in steps:
        written = tmp_path / f"checkpoint-{step}"
        written.mkdir()
        (written / "adapter.safetensors").write_bytes(f"adapter at {step}".encode())
        (written / "optimizer.pt").write_bytes(b"optimizer")
        checkpoints.keep(written, step)


def test_there_is_none_at_first(checkpoints):
    assert checkpoints.newest() == (None, [])


def test_the_newest_is_found_by_its_number(checkpoints, tmp_path):
    keep(checkpoints, tmp_path, 9, 10)

    assert checkpoints.newest() == (Checkpoint(checkpoints.directory / "step-10", 10), [])


def test_the_last_three_are_kept(checkpoints, tmp_path):
    keep(checkpoints, tmp_path, 8, 9, 10, 11)

    assert sorted(path.name for path in checkpoints.directory.iterdir()) == ["step-10", "step-11", "step-9"]


def damage_bytes(path):
    (path / "optimizer.pt").write_bytes(b"optimizes")


def lose_a_file(path):
    (path / "adapter.safetensors").unlink()


def lose_the_manifest(path):
    (path / "checkpoint.json").unlink()


def break_the_manifest(path):
    (path / "checkpoint.json").write_text("[]")


def empty_the_manifest(path):
    manifest = json.loads((path / "checkpoint.json").read_text())
    (path / "checkpoint.json").write_text(json.dumps(manifest | {"files": {}}))


@pytest.mark.parametrize(
    "harm", [damage_bytes, lose_a_file, lose_the_manifest, break_the_manifest, empty_the_manifest]
)
def test_a_damaged_one_is_skipped_and_told(checkpoints, tmp_path, harm):
    keep(checkpoints, tmp_path, 3, 6)
    harm(checkpoints.directory / "step-6")

    assert checkpoints.newest() == (Checkpoint(checkpoints.directory / "step-3", 3), [6])


def test_a_damaged_one_is_written_over(checkpoints, tmp_path):
    keep(checkpoints, tmp_path, 6)
    damage_bytes(checkpoints.directory / "step-6")
    keep(checkpoints, tmp_path, 6)

    assert checkpoints.newest() == (Checkpoint(checkpoints.directory / "step-6", 6), [])


def test_a_checkpoint_of_another_training_is_not_used(checkpoints, tmp_path):
    keep(checkpoints, tmp_path, 5)

    assert Checkpoints(checkpoints.directory, "other rows").newest() == (None, [5])


def test_a_checkpoint_under_another_number_is_not_used(checkpoints, tmp_path):
    keep(checkpoints, tmp_path, 5)
    (checkpoints.directory / "step-5").rename(checkpoints.directory / "step-7")

    assert checkpoints.newest() == (None, [7])


def test_other_things_in_the_directory_are_left_alone(checkpoints, tmp_path):
    checkpoints.directory.mkdir()
    (checkpoints.directory / "step-x").mkdir()

    assert checkpoints.newest() == (None, [])
