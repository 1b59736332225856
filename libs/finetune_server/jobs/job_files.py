"""What lies in a job's directory, as the server sees it.

```text
job.json                    what to train, written before each start of the trainer
training.jsonl              the training file, a second name of the uploaded bytes
validation.jsonl            the validation file, likewise
lock                        flock'ed by the trainer for its life
events.jsonl                the trainer's events, appended
checkpoints/step-N/         where to go on from, renamed into place when complete
epochs/step-N/              an epoch's adapter, likewise; the last three stay, as models of their own
result.json                 renamed into place last
trainer.log                 the trainer's standard output and error
```

The inputs are hard links, so that a job keeps what it trains on when the file is deleted under it. They and
the checkpoints go when the job ends.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import orjson

from finetune_server.storage.records import JobRecord

TRAINING = "training.jsonl"
VALIDATION = "validation.jsonl"
CHECKPOINTS = "checkpoints"
EVENTS = "events.jsonl"
RESULT = "result.json"
TRAINER_LOG = "trainer.log"

_LINES_BETWEEN_LOOKS = 512


class NotWantedError(Exception):
    """The work was called off while it was under way."""


def link_input(source: Path, target: Path) -> None:
    """Gives the job a name of its own for a file's bytes; copies where the disk cannot link."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK}:
            raise
        shutil.copyfile(source, target)


def discard_work(job_dir: Path) -> None:
    """Removes what only a job that goes on needs: its names for its input files, and its checkpoints."""
    for name in (TRAINING, VALIDATION):
        (job_dir / name).unlink(missing_ok=True)
    shutil.rmtree(job_dir / CHECKPOINTS, ignore_errors=True)


def read_lines(path: Path, *, max_bytes: int, is_wanted: Callable[[], bool]) -> Generator[bytes, None, None]:
    """The lines of a file; of a line longer than `max_bytes` only enough to see that it is.

    Raises:
        NotWantedError: When `is_wanted` says so, asked every few hundred lines.
    """
    with path.open("rb") as file:
        number = 0
        while line := file.readline(max_bytes + 2):
            if number % _LINES_BETWEEN_LOOKS == 0 and not is_wanted():
                raise NotWantedError
            number += 1
            yield line.rstrip(b"\r\n")


def write_job(job_dir: Path, job: JobRecord, *, bases_dir: Path) -> None:
    """Writes `job.json`, whole or not at all."""
    has_validation = job.validation_file is not None
    told = {
        "version": 1,
        "job_id": job.id,
        "attempt": job.attempt,
        "base": job.base,
        "bases_dir": str(bases_dir),
        "training_file": str(job_dir / TRAINING),
        "validation_file": str(job_dir / VALIDATION) if has_validation else None,
        "method": job.method,
        "hyperparameters": job.hyperparameters,
        "seed": job.seed,
    }
    write_json(job_dir / "job.json", told)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes a JSON object to a temporary name, flushes it and renames it into place."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(orjson.dumps(value) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def is_locked(job_dir: Path) -> bool:
    """Whether a trainer lives in the directory."""
    try:
        descriptor = os.open(job_dir / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def newest_checkpoint(job_dir: Path) -> int:
    """The step of the newest complete checkpoint, 0 where there is none."""
    steps = [
        int(step)
        for path in (job_dir / CHECKPOINTS).glob("step-*")
        if (step := path.name.removeprefix("step-")).isdecimal()
    ]
    return max(steps, default=0)


def drop_torn_line(job_dir: Path, offset: int) -> None:
    """Cuts off what a dead trainer left behind its last whole event, before the next one appends."""
    path = job_dir / EVENTS
    if path.exists() and path.stat().st_size > offset:
        os.truncate(path, offset)
