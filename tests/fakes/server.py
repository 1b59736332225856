"""The real server in a process of its own, with settings that its command line does not have.

Its one argument is a JSON object with fields of `Settings`, and of its `timing` and `limits`; `faults_dir`
names a directory whose files are faults, see `tests.fakes.faults`.
"""

import json
import sys
from pathlib import Path

from finetune_server.config import Limits, Settings, Timing
from finetune_server.serving import run
from tests.fakes.faults import install_faults


def main() -> int:
    given = json.loads(sys.argv[1])
    install_faults(given.pop("faults_dir", None))
    for name in {"state_dir", "log_file"} & given.keys():
        given[name] = Path(given[name])
    given["limits"] = Limits(**given.pop("limits", {}))
    given["timing"] = Timing(**given.pop("timing", {}))
    return run(Settings(**given))


if __name__ == "__main__":
    sys.exit(main())
