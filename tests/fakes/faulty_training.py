"""The real trainer, with a clock that may be off, memory that may be short and a disk that may be full.

Its arguments are the file of `tests.fakes.faults`' clock, and the job's directory. Beside the first may lie
`memory`, with the bytes that the trainer may still take once torch is imported, and `file-bytes`, with the
length beyond which no file of its grows. The next trainer to start takes both away.
"""

import resource
import runpy
import sys
from pathlib import Path

from tests.fakes.faults import install_clock


def main() -> None:
    clock = Path(sys.argv[1])
    install_clock(clock)
    if num_bytes := take_number(clock.with_name("file-bytes")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, resource.RLIM_INFINITY))
    if num_bytes := take_number(clock.with_name("memory")):
        import torch  # noqa: F401, PLC0415 - its own memory is not what is to be short
        import transformers.trainer  # noqa: F401, PLC0415

        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + num_bytes, resource.RLIM_INFINITY))
    sys.argv = sys.argv[:1] + sys.argv[2:]
    runpy.run_module("finetune_server.training", run_name="__main__")


def take_number(path: Path) -> int:
    try:
        number = int(path.read_text())
    except FileNotFoundError:
        return 0
    path.unlink()
    return number


if __name__ == "__main__":
    main()
