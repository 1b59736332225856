"""One training, in a process of its own: `python -m finetune_server.training JOBDIR`.

Whatever can be foreseen ends in `result.json` and exit code 0. A process that ends without one was killed,
and is started again. On SIGTERM it writes a checkpoint and ends with exit code 5. It lives no longer than its
standard input stays open: whoever started it holds the other end, and the kernel closes that even when the
holder is killed.
"""

import contextlib
import errno
import fcntl
import logging
import os
import re
import resource
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any, Final

from finetune_server.errors import UnknownBase
from finetune_server.training.errors import TrainingError, TrainingStopped
from finetune_server.training.events import EventLog
from finetune_server.training.job import RESULT_FILE, TrainingJob, failure, read_job, write_result
from finetune_server.training.stop_request import EXIT_STOPPED, StopRequest

_EXIT_ORPHANED: Final = 3
_EXIT_LOCKED: Final = 4
_EXIT_NO_ROOM: Final = 6
_LOCK: Final = "lock"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DISK_FULL: Final = re.compile(
    "no space left|quota exceeded|file too large|PytorchStreamWriter failed|unexpected pos", re.IGNORECASE
)
_OUT_OF_MEMORY: Final = re.compile(
    "out of memory|can(.t|not) allocate memory|not enough memory|bad_alloc|can.t start new thread"
    "|could not create a (primitive|memory object)",  # in the words of oneDNN
    re.IGNORECASE,
)


def main() -> int:
    """Trains the job in the directory that the command line names."""
    directory = Path(sys.argv[1])
    stop = StopRequest()
    stop.listen()
    threading.Thread(target=_end_with_standard_input, name="standard-input", daemon=True).start()
    with (directory / _LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another process trains in {directory}", file=sys.stderr)  # noqa: T201 - the trainer's log
            return _EXIT_LOCKED
        if not (directory / RESULT_FILE).exists():
            try:
                return _write_result(directory, _result(directory, stop))
            except TrainingStopped:
                return EXIT_STOPPED
    return 0


def _write_result(directory: Path, result: dict[str, Any]) -> int:
    try:
        write_result(directory, result)
    except OSError as error:
        if not _is_disk_full(error):
            raise
        # Nothing can be left but an exit code. What was learned is in the newest checkpoint.
        return _EXIT_NO_ROOM
    return 0


def _result(directory: Path, stop: StopRequest) -> dict[str, Any]:
    try:
        return _train(directory, stop)
    except TrainingStopped:
        raise
    except TrainingError as error:
        return failure(error)
    except UnknownBase as error:
        return failure(TrainingError(str(error), code="model_not_available", param="model"))
    except Exception as error:  # noqa: BLE001 - the job ends here either way, and its client must learn why
        # The traceback names code, not rows.
        with contextlib.suppress(OSError):  # the log may be what the disk has no room for
            traceback.print_exc()
        return failure(_unforeseen(error, directory))


def _train(directory: Path, stop: StopRequest) -> dict[str, Any]:
    job = read_job(directory)
    _check_inputs(job)
    _prepare_libraries()
    with EventLog(directory / "events.jsonl", job.attempt) as log:
        # Importing torch and transformers takes seconds, in which a closed standard input must be seen.
        from finetune_server.training.supervised import train_supervised  # noqa: PLC0415

        result = train_supervised(job, log, stop)
    return {**result, "peak_rss_bytes": _peak_rss_bytes()}


def _check_inputs(job: TrainingJob) -> None:
    for path, param in ((job.training_file, "training_file"), (job.validation_file, "validation_file")):
        if path is not None and not path.exists():
            message = f"{path} is gone from the job's directory. Upload the file and create the job again."
            raise TrainingError(message, code="file_not_found", param=param)


def _prepare_libraries() -> None:
    """Settings that the libraries read when they are imported."""
    # Threads that spin while they wait for each other take the machine from whoever else works on it; on two
    # busy cores a step took five times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    # With several GPUs in sight transformers would split each batch among them.
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    logging.captureWarnings(capture=True)
    warnings.simplefilter("ignore")


def _unforeseen(error: Exception, directory: Path) -> TrainingError:
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)):
        message = (
            "The machine ran out of memory. Free some of it, or shorten the longest rows, and create the job "
            "again."
        )
        return TrainingError(message, code="out_of_memory")
    if _is_disk_full(error):
        message = "The disk is full. Make room and create the job again."
        return TrainingError(message, code="storage_full")
    # The libraries make missing directories anew: the lock tells.
    if isinstance(error, FileNotFoundError) and not (directory / _LOCK).exists():
        message = "The job's directory was removed while it trained. Create the job again."
        return TrainingError(message, code="job_directory_gone")
    name = type(error).__name__
    message = f"The training process failed with {name}; trainer.log in the job's directory says more."
    return TrainingError(message, code="internal_error")


def _is_disk_full(error: Exception) -> bool:
    """Whether there was no room to write; torch and safetensors have only words for it."""
    return (isinstance(error, OSError) and error.errno in _NO_ROOM) or bool(_DISK_FULL.search(str(error)))


def _end_with_standard_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(_EXIT_ORPHANED)


def _peak_rss_bytes() -> int:
    """The most memory held at once by this program; `ru_maxrss` would count its parent's before the start."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) * 1024


if __name__ == "__main__":
    sys.exit(main())
