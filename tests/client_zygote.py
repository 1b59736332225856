"""A process that has imported everything once and forks a client for each line it reads.

Clients that are killed dozens of times would cost a start of two seconds each. A line is an `Errand` as JSON;
answered are its process id and, when it is gone, that. It stays a zombie until the next line, so that
its id is no one else's while somebody may still aim at it.
"""

import json
import os
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openai

from langchain_finetune import FineTuneRunnable
from langchain_finetune.handles import TrainingData
from langchain_finetune.trainers.placing import reconciling, uploading

BASE = "gpt-4.1-mini-2025-04-14"


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What a client is to do."""

    url: str
    home: str
    """The state directory."""
    data: dict[str, Any]
    answer: str
    """Where it writes the name of the model that it got."""
    settings: dict[str, Any]

    @property
    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


def run_client(errand: Errand) -> None:
    os.environ["LANGCHAIN_FINETUNE_HOME"] = errand.home
    # The order of what is done is under test, not how long is waited in between.
    reconciling._LOOK_PAUSES = (0.001, 0.001, 0.001, 0.001)
    uploading._RETRY_SECONDS = (0.001, 0.001)
    client = openai.OpenAI(base_url=errand.url, api_key="sk-fake")
    trainer = FineTuneRunnable(f"openai:{BASE}", client=client, poll_interval=0.002, **errand.settings)
    model = trainer.invoke(TrainingData.model_validate(errand.data))
    Path(errand.answer).write_text(model.model_name)


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                run_client(Errand(**json.loads(line)))
            except BaseException:  # noqa: BLE001  a fork must not go on as a zygote
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        # Gone, but not yet collected.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        sys.stdout.write("gone\n")
        sys.stdout.flush()
        sys.stdin.readline()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
