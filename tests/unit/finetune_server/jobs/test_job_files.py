import errno
import fcntl
import json
import os

import pytest

from finetune_server.jobs import job_files
from tests.server_records import job


def test_a_job_keeps_its_bytes_when_the_file_goes(tmp_path):
    source, target = tmp_path / "file", tmp_path / "training.jsonl"
    source.write_bytes(b"rows")
    job_files.link_input(source, target)
    assert target.stat().st_ino == source.stat().st_ino
    source.unlink()
    assert target.read_bytes() == b"rows"
    (tmp_path / "checkpoints" / "step-1").mkdir(parents=True)
    for _ in range(2):
        job_files.discard_work(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_link_gets_a_copy(tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.EXDEV, "cross-device link")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    (tmp_path / "file").write_bytes(b"rows")
    job_files.link_input(tmp_path / "file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"rows"


def test_a_file_that_is_gone_is_said_to_be(tmp_path):
    with pytest.raises(FileNotFoundError):
        job_files.link_input(tmp_path / "none", tmp_path / "x")


def test_lines_are_read_without_their_ends_and_long_ones_in_part(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one\r\ntwo\n" + b"x" * 50 + b"\nlast")
    lines = list(job_files.read_lines(path, max_bytes=20, is_wanted=lambda: True))
    assert lines[:2] == [b"one", b"two"]
    assert 20 < len(lines[2]) < 50
    assert lines[-1] == b"last"


def test_reading_ends_when_it_is_not_wanted(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x\n" * 2000)
    answers = iter([True, False])
    lines = job_files.read_lines(path, max_bytes=20, is_wanted=lambda: next(answers))
    with pytest.raises(job_files.NotWantedError):
        assert sum(1 for _ in lines) < 2000


def test_the_trainer_is_told_what_the_contract_says(tmp_path):
    job_files.write_job(tmp_path, job(attempt=2, validation_file="file-2"), bases_dir=tmp_path / "bases")
    assert json.loads((tmp_path / "job.json").read_bytes()) == {
        "version": 1,
        "job_id": job().id,
        "attempt": 2,
        "base": "base",
        "bases_dir": str(tmp_path / "bases"),
        "training_file": str(tmp_path / "training.jsonl"),
        "validation_file": str(tmp_path / "validation.jsonl"),
        "method": "supervised",
        "hyperparameters": {"n_epochs": "auto"},
        "seed": 1,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]


def test_a_lock_tells_whether_a_trainer_lives(tmp_path):
    assert not job_files.is_locked(tmp_path)
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    assert not job_files.is_locked(tmp_path)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert job_files.is_locked(tmp_path)
    os.close(descriptor)
    assert not job_files.is_locked(tmp_path)


def test_the_newest_checkpoint_is_the_one_of_the_highest_step(tmp_path):
    assert job_files.newest_checkpoint(tmp_path) == 0
    for name in ("step-2", "step-10", ".step-12", "step-x", "step-"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert job_files.newest_checkpoint(tmp_path) == 10


def test_a_torn_line_is_cut_off_and_a_whole_file_left_alone(tmp_path):
    job_files.drop_torn_line(tmp_path, 0)
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"one\ntw")
    job_files.drop_torn_line(tmp_path, 4)
    assert path.read_bytes() == b"one\n"
    job_files.drop_torn_line(tmp_path, 4)
    assert path.read_bytes() == b"one\n"
