"""One client of the trainer's benchmark, in a process of its own: trains on files and prints JSON.

`python benchmarks/trainer_clients.py CLIENT FILE...` with the host in OPENAI_BASE_URL and the key in
OPENAI_API_KEY. No pause is waited for: each is counted and told to the host, whose clock goes by them. This
file needs the client alone, so that any interpreter that has one can run it.
"""

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

BASE = "gpt-4.1-mini-2025-04-14"

Train = Callable[[Path], object]


class Pauses:
    """Stands for `time.sleep`: adds up what it is asked for, and moves the host's clock."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, seconds: float) -> None:
        """Count a pause."""
        self.seconds += seconds
        body = json.dumps({"seconds": seconds}).encode()
        with urllib.request.urlopen(f"{os.environ['OPENAI_BASE_URL']}/clock", body):
            pass


def main(client: str, *paths: str) -> None:
    """Train on each file and print what was seen."""
    pauses = Pauses()
    train = CLIENTS[client](pauses)
    idle = _memory_mib("VmRSS")
    milliseconds, errors = [], []
    for path in paths:
        started = time.perf_counter()
        try:
            train(Path(path))
        except Exception as e:  # noqa: BLE001 - how a client fails is a result
            errors.append(f"{type(e).__name__}: {e}"[:200])
        milliseconds.append(1000 * (time.perf_counter() - started))
    seen = {
        "milliseconds": milliseconds,
        "errors": errors,
        "pause_seconds": pauses.seconds,
        "idle_mib": idle,
        "peak_mib": _memory_mib("VmHWM"),
    }
    print(json.dumps(seen))


def _ours(pauses: Pauses) -> Train:
    from langchain_finetune import FineTuneRunnable  # noqa: PLC0415

    trainer = FineTuneRunnable(f"openai:{BASE}")
    trainer._connection._sleep = pauses  # noqa: SLF001 - the seam
    return trainer.invoke


def _bare(pauses: Pauses) -> Train:
    """The fewest calls that train and know the model: as most applications write them."""
    import openai  # noqa: PLC0415

    time.sleep = pauses
    client = openai.OpenAI()

    def train(path: Path) -> object:
        with path.open("rb") as rows:
            file = client.files.create(file=rows, purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model=BASE, training_file=file.id)
        client.fine_tuning.jobs.list_events(job.id)
        return client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model

    return train


def _same(pauses: Pauses) -> Train:
    """The very requests that our trainer makes for a job that has ended at its first look."""
    import openai  # noqa: PLC0415

    time.sleep = pauses
    client = openai.OpenAI()
    jobs = client.fine_tuning.jobs

    def train(path: Path) -> object:
        client.models.retrieve(BASE)
        jobs.list(limit=100, extra_query={"metadata[key]": path.name})
        client.files.list(purpose="fine-tune", limit=1000)
        with path.open("rb") as rows:
            file = client.files.create(file=rows, purpose="fine-tune")
        job = jobs.create(model=BASE, training_file=file.id, metadata={"key": path.name})
        for _ in range(2):
            job = jobs.retrieve(job.id)
            jobs.list_events(job.id, limit=100)
        for _ in range(2):
            client.models.retrieve(str(job.fine_tuned_model))
        return job.fine_tuned_model

    return train


def _bare_path(pauses: Pauses) -> Train:
    """The upload by a path, which the client takes as well."""
    import openai  # noqa: PLC0415

    time.sleep = pauses
    client = openai.OpenAI()
    return lambda path: client.files.create(file=path, purpose="fine-tune")


def _dspy(pauses: Pauses) -> Train:
    from dspy.clients.openai import OpenAIProvider, TrainingJobOpenAI  # noqa: PLC0415
    from dspy.clients.utils_finetune import TrainDataFormat  # noqa: PLC0415

    time.sleep = pauses

    def train(path: Path) -> object:
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
        job = TrainingJobOpenAI()
        return OpenAIProvider.finetune(job, f"openai/{BASE}", rows, TrainDataFormat.CHAT, {})

    return train


def _llama_index(pauses: Pauses) -> Train:
    from llama_index.finetuning import OpenAIFinetuneEngine  # noqa: PLC0415

    time.sleep = pauses

    def train(path: Path) -> object:
        # Its validation counts tokens, and downloads their table for that.
        engine = OpenAIFinetuneEngine(BASE, str(path), validate_json=False)
        engine.finetune()
        return engine.get_finetuned_model()

    return train


CLIENTS: dict[str, Callable[[Pauses], Train]] = {
    "ours": _ours,
    "bare": _bare,
    "same": _same,
    "bare-path": _bare_path,
    "dspy": _dspy,
    "llama-index": _llama_index,
}


def _memory_mib(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{field}:")[2].split(maxsplit=1)[0]) / 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
