"""What our trainer costs and what it saves, against the bare openai client, DSPy and LlamaIndex.

Run it with `make bench`. It needs no network and trains nothing: all clients reach one fake host over HTTP on
loopback, each in a process of its own. No pause is waited for: each is counted, and the host's clock goes by
them. The other libraries are measured when an interpreter that has them is named:

    python -m venv peers
    peers/bin/pip install dspy llama-index-finetuning openai "mistralai<2"
    python benchmarks/trainer.py --peers peers/bin/python
"""

import argparse
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from trainer_clients import BASE
from trainer_host import Host, serving

MB = 1_000_000
NUM_TRIALS = 20
NUM_ROWS = 100
SMALL_UPLOAD_BYTES = 50 * MB
LARGE_UPLOAD_BYTES = 500 * MB
QUEUE_SECONDS = 600.0
STEP_SECONDS = 12.0
NUM_STEPS = 100
NUM_STEPS_AT_ONCE = 10
EVENT_PAGE_SIZE = 100
NOT_MEASURED = "not measured"
NAMES = {
    "ours": "FineTuneRunnable",
    "bare": "openai client",
    "dspy": "DSPy OpenAIProvider",
    "llama-index": "LlamaIndex OpenAIFinetuneEngine",
}
PEERS = ("dspy", "llama-index")

Seen = dict[str, Any]


@dataclass
class Bench:
    """One host, where it is, and a folder for files."""

    host: Host
    url: str
    folder: Path
    peers: str | None

    def run(self, client: str, *paths: Path, state: str = "state") -> Seen | None:
        """Let a client train on files; None where it is not there."""
        python = self.peers if client in PEERS else sys.executable
        if python is None:
            return None
        script = Path(__file__).with_name("trainer_clients.py")
        command = [python, str(script), client, *map(str, paths)]
        done = subprocess.run(
            command, check=False, env=self._environment(state), capture_output=True, text=True
        )
        if done.returncode:
            print(f"{NAMES.get(client, client)} could not be run: {done.stderr.splitlines()[-1]}")
            return None
        seen: Seen = json.loads(done.stdout.splitlines()[-1])
        return seen

    def _environment(self, state: str) -> dict[str, str]:
        # Nothing of the person who runs it: no key, no tracing, no cache.
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "LANGCHAIN_FINETUNE_HOME": str(self.folder / state),
            "OPENAI_API_KEY": self.host.key,
            "OPENAI_BASE_URL": self.url,
            "HF_HUB_OFFLINE": "1",
        }

    def rows(self, name: str) -> Path:
        """Write rows that nobody has trained on yet."""
        return self._write(name, (_row(f"{name} {number}", "x") for number in range(NUM_ROWS)))

    def large_rows(self, name: str, num_bytes: int) -> Path:
        """Write rows of 1 kB."""
        lines = (_row(f"{name} {number:09d}", "x" * 850) for number in range(num_bytes // 1000))
        return self._write(name, (line[:-1].ljust(999) + b"\n" for line in lines))

    def _write(self, name: str, lines: Iterator[bytes]) -> Path:
        path = self.folder / f"{name}.jsonl"
        with path.open("wb") as file:
            file.writelines(lines)
        return path


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description="Measure the trainer and print a table.")
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter that has dspy and llama_index")
    with _bench(parser.parse_args().peers) as bench:
        _print_requests(bench)
        _print_overhead(bench)
        _print_memory(bench)
        _print_duplicates(bench)


@contextmanager
def _bench(peers: str | None) -> Iterator[Bench]:
    host = Host(BASE)
    host.event_page_size = EVENT_PAGE_SIZE
    with tempfile.TemporaryDirectory() as folder, serving(host) as url:
        yield Bench(host, url, Path(folder), peers)


def _row(question: str, answer: str) -> bytes:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return orjson.dumps({"messages": messages}) + b"\n"


def _line(what: str, value: str, ratio: float | None = None) -> None:
    print(f"  {what:48}{value:>14}" + (f"{ratio:9.2f}x" if ratio is not None else ""))


def _print_requests(bench: Bench) -> None:
    minutes = (QUEUE_SECONDS + NUM_STEPS * STEP_SECONDS) / 60
    print(f"requests a waited minute, of a job of {minutes:.0f} minutes, {NUM_STEPS} steps")
    bench.host.queue_seconds, bench.host.step_seconds = QUEUE_SECONDS, STEP_SECONDS
    bench.host.plan.num_steps = NUM_STEPS
    ours = None
    for client in ("ours", *PEERS):
        num_before = len(bench.host.requests)
        seen = bench.run(client, bench.rows(f"wait-{client}"))
        requests = [request.path for request in bench.host.requests[num_before:]]
        if seen is None:
            _line(NAMES[client], NOT_MEASURED)
        elif not seen["pause_seconds"]:
            _line(NAMES[client], "cannot wait")
        else:
            num_looks = len(requests) - requests.index("/fine_tuning/jobs", requests.index("/files")) - 1
            rate = 60 * num_looks / seen["pause_seconds"]
            ours = ours or rate
            _line(NAMES[client], f"{rate:.1f}", rate / ours)
    bench.host.queue_seconds = bench.host.step_seconds = 0.0
    bench.host.plan.num_steps = NUM_STEPS_AT_ONCE


def _print_overhead(bench: Bench) -> None:
    print(
        f"\nwall time of a training that has ended at its first look, median of {NUM_TRIALS}, pauses left out"
    )
    milliseconds, paths = {}, {}
    for client in ("bare", "same", "ours"):
        files = [bench.rows(f"overhead-{client}-{number}") for number in range(NUM_TRIALS + 1)]
        num_before = len(bench.host.requests)
        seen = _require(bench.run(client, *files))
        # The first one also imports and connects.
        milliseconds[client] = statistics.median(seen["milliseconds"][1:])
        paths[client] = [_shape(r.method, r.path) for r in bench.host.requests[num_before:]]
    if paths["same"] != paths["ours"]:
        msg = "the trainer makes other requests than this benchmark thinks: correct `_same`"
        raise RuntimeError(msg)
    for client, what in (
        ("bare", "openai client: upload, create, look, events"),
        ("same", "openai client: the trainer's requests"),
        ("ours", "FineTuneRunnable.invoke"),
    ):
        num_requests = len(paths[client]) / (NUM_TRIALS + 1)
        label = f"{what} ({num_requests:.0f})"
        _line(label, f"{milliseconds[client]:.0f} ms", milliseconds[client] / milliseconds["same"])


def _shape(method: str, path: str) -> str:
    return f"{method} {re.sub(r'(ftjob-|ft:)[^/]+', '*', path)}"


def _print_memory(bench: Bench) -> None:
    print(f"\nmost memory above that after the imports, MiB, uploads of {LARGE_UPLOAD_BYTES // MB} MB")
    print(f"  (in brackets, of {SMALL_UPLOAD_BYTES // MB} MB)")
    small = bench.large_rows("small", SMALL_UPLOAD_BYTES)
    large = bench.large_rows("large", LARGE_UPLOAD_BYTES)
    with large.open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()
    first = None
    for client, what in (
        ("bare", "openai client, an open file"),
        ("bare-path", "openai client, a path"),
        ("ours", "FineTuneRunnable"),
    ):
        [less, more] = [_growth(_require(bench.run(client, path))) for path in (small, large)]
        if bench.host.sha256[-1] != expected:
            msg = f"what {client} sent is not what the file holds"
            raise RuntimeError(msg)
        first = first or more
        _line(what, f"{more:.0f} ({less:.0f})", more / first)
    small.unlink()
    large.unlink()


def _growth(seen: Seen) -> float:
    growth: float = seen["peak_mib"] - seen["idle_mib"]
    return growth


def _print_duplicates(bench: Bench) -> None:
    print(
        "\njobs paid for after a 500 that the host sent when it had created the job; and when run once more"
    )
    for client, name in NAMES.items():
        path = bench.rows(f"duplicates-{client}")
        num_before = len(bench.host.jobs)
        bench.host.fail("POST", "/fine_tuning/jobs", 500, is_after=True)
        seen = bench.run(client, path)
        if seen is None:
            bench.host.faults.clear()
            _line(name, NOT_MEASURED)
            continue
        first = len(bench.host.jobs) - num_before
        _require(bench.run(client, path))
        again = len(bench.host.jobs) - num_before
        _line(name, f"{first}, then {again}", float(first))


def _require(seen: Seen | None) -> Seen:
    if seen is None or seen["errors"]:
        msg = f"a client failed: {seen and seen['errors']}"
        raise RuntimeError(msg)
    return seen


if __name__ == "__main__":
    main()
