"""How many CPUs this process may use."""

import os
from pathlib import Path

_QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")


def num_cpus(quota_file: Path = _QUOTA_FILE) -> int:
    """The CPUs this process may use: threads beyond them wait for each other, and everything crawls."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text(encoding="ascii").split()
        return max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or one without a limit (`max`)
        return allowed
