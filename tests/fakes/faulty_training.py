"""The real trainer, with a clock that may be off and memory that may be short.

Its arguments are the file of `tests.fakes.faults`' clock, and the job's directory. A file `memory` beside the
first holds how many bytes the trainer may still take once torch is imported.
"""

import resource
import runpy
import sys
from pathlib import Path

from tests.fakes.faults import install_clock


def main() -> None:
    clock = Path(sys.argv[1])
    install_clock(clock)
    limit = clock.with_name("memory")
    if limit.exists():
        import torch  # noqa: F401, PLC0415 - its own memory is not what is to be short
        import transformers.trainer  # noqa: F401, PLC0415

        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(limit.read_text()), resource.RLIM_INFINITY))
    sys.argv = sys.argv[:1] + sys.argv[2:]
    runpy.run_module("finetune_server.training", run_name="__main__")


if __name__ == "__main__":
    main()
