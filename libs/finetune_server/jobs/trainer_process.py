"""One trainer: a child in a session of its own, alive as long as its standard input is open."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from finetune_server.jobs.job_files import TRAINER_LOG

_VMSTAT = Path("/proc/vmstat")
_CGROUP_EVENTS = Path("/sys/fs/cgroup/memory.events")
_EXIT_NO_ROOM = 6
"""A trainer's way to say that there is no room left even for its result."""


class TrainerProcess:
    """A running trainer. Whoever starts it calls `finish`, which leaves nothing of it behind.

    The trainer watches its standard input, a pipe that only this process holds: should the server die, the
    kernel closes it and the trainer ends itself.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._oom_kills_before = num_oom_kills()

    @classmethod
    def start(cls, command: Sequence[str], job_dir: Path) -> Self:
        """Starts the trainer on a job's directory.

        Raises:
            OSError: When the system will not start it.
        """
        with (job_dir / TRAINER_LOG).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - the server's own configuration
                [*command, str(job_dir)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return cls(process)

    @property
    def pid(self) -> int:
        """The trainer's process id, which is its session's and its process group's too."""
        return self._process.pid

    def has_exited(self) -> bool:
        """Whether the trainer has ended."""
        return self._process.poll() is not None

    def ask_to_end(self) -> None:
        """Asks the trainer to write a checkpoint and to end."""
        self._signal(signal.SIGTERM)

    def finish(self) -> int:
        """Ends what is left of the trainer and its children, and gives its exit code."""
        self._signal(signal.SIGKILL)
        code = self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    def was_killed_for_memory(self) -> bool:
        """Whether it ended by SIGKILL while the kernel's count of out-of-memory kills rose."""
        return self._process.returncode == -signal.SIGKILL and num_oom_kills() > self._oom_kills_before

    def _signal(self, number: signal.Signals) -> None:
        # The group outlives its leader while a child of the trainer's lives.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def num_oom_kills() -> int:
    """How often the kernel has killed for memory, on the machine and in this container; 0 where unknown."""
    return sum(_counter(path, "oom_kill") for path in (_VMSTAT, _CGROUP_EVENTS))


def describe_exit(code: int) -> str:
    """An exit code in words: `exit code 1`, `signal SIGKILL`."""
    if code == _EXIT_NO_ROOM:
        return f"exit code {code}, as the disk is full"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _counter(path: Path, name: str) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)
