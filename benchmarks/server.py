"""What the embedded server costs: requests a second with 10,000 jobs in its store, memory, its start.

Run it with `make bench`. It needs no network and trains nothing. Two limits are measured in the same run:
what the framework needs for a route that does nothing (`/healthz`), and what it takes to hash and write
the bytes of an upload.
"""

import hashlib
import http.client
import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import orjson

from finetune_server.storage.job_table import NewEvent
from finetune_server.storage.records import JobRecord
from finetune_server.storage.store import Store

NUM_JOBS = 10_000
NUM_EVENTS = 20
NUM_STARTS = 5
NUM_REQUESTS = 2_000
NUM_TRIALS = 3
MIB = 1024 * 1024
UPLOAD_BYTES = 511 * MIB
_BOUNDARY = "benchmark-boundary"


def main() -> None:
    """Measure and print one table."""
    with tempfile.TemporaryDirectory() as folder:
        state_dir = Path(folder) / "server"
        job_ids = _fill(state_dir)
        starts = []
        for _ in range(NUM_STARTS):
            started = time.perf_counter()
            with _server(state_dir):
                starts.append(time.perf_counter() - started)
        print(f"start to ready, {NUM_JOBS} jobs in the store: {statistics.median(starts):.2f} s\n")
        with _server(state_dir) as (process, told, key):
            idle = _memory_mib(process, "VmRSS")
            _print_requests(told, key, job_ids)
            _print_upload(process, told, key, idle, Path(folder))


def _fill(state_dir: Path) -> list[str]:
    """Write a store with many jobs, each with the events of a short training."""
    state_dir.mkdir(mode=0o700)
    store = Store.open(state_dir / "server.sqlite")
    store._database._writer.execute("PRAGMA synchronous = OFF")  # noqa: SLF001 - nothing is lost but time
    ids = [f"ftjob-{number:024x}" for number in range(NUM_JOBS)]
    for number, job_id in enumerate(ids):
        store.jobs.create(_job(job_id, number), _events(number))
    store.close()
    return ids


def _job(job_id: str, number: int) -> JobRecord:
    return JobRecord(
        id=job_id,
        status="succeeded",
        base="smollm2-135m-instruct",
        training_file=f"file-{number:024x}",
        validation_file=None,
        method="supervised",
        hyperparameters={"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0},
        seed=number,
        suffix=None,
        metadata={"key": str(number)},
        created_at=1_700_000_000 + number,
        finished_at=1_700_000_100 + number,
        trained_tokens=12_345,
        fine_tuned_model=f"ft:smollm2-135m-instruct:local::{number:08d}",
    )


def _events(number: int) -> Iterator[NewEvent]:
    for step in range(1, NUM_EVENTS + 1):
        data = {"step": step, "total_steps": NUM_EVENTS, "train_loss": 1 / step}
        message = f"Step {step}/{NUM_EVENTS}: training loss={1 / step:.2f}"
        yield NewEvent(message=message, created_at=1_700_000_000 + number, type="metrics", data=data)


@contextmanager
def _server(state_dir: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, str]]:
    """Run the server, from its start to its end; gives its process, its address and its key."""
    command = [sys.executable, "-m", "finetune_server", "--state-dir", str(state_dir), "--idle-minutes", "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (told := _announced(state_dir, process.pid)):
            time.sleep(0.005)
        yield process, told, (state_dir / "api_key").read_text().strip()
    finally:
        process.terminate()
        process.wait()


def _announced(state_dir: Path, pid: int) -> str | None:
    try:
        told = orjson.loads((state_dir / "server.json").read_bytes())
        if told["pid"] != pid:
            return None
        address: str = told["base_url"].removesuffix("/v1").removeprefix("http://")
        with urllib.request.urlopen(f"http://{address}/healthz") as answer:
            return address if answer.status == http.client.OK else None
    except (OSError, ValueError):
        return None


def _print_requests(address: str, key: str, job_ids: list[str]) -> None:
    chosen = random.Random(1).choices(job_ids, k=NUM_REQUESTS)
    empty = _per_second(address, key, ["/healthz"] * NUM_REQUESTS)
    print(f"{NUM_REQUESTS} requests one after the other, one connection, {NUM_TRIALS} trials, median\n")
    print(f"{'':52}{'a second':>10}{'of the limit':>14}")
    _line("GET /healthz: the framework's own cost (limit)", empty, empty)
    for what, path in (
        ("GET /v1/fine_tuning/jobs/{id}", "/v1/fine_tuning/jobs/{}"),
        ("GET /v1/fine_tuning/jobs/{id}/events", "/v1/fine_tuning/jobs/{}/events"),
        ("GET /v1/fine_tuning/jobs?metadata[key]=…", "/v1/fine_tuning/jobs?metadata[key]={}"),
        ("GET /v1/fine_tuning/jobs (20 of them)", "/v1/fine_tuning/jobs?after={}"),
    ):
        _line(what, _per_second(address, key, [path.format(job_id) for job_id in chosen]), empty)
    with openai.OpenAI(base_url=f"http://{address}/v1", api_key=key, max_retries=0) as client:
        ids = itertools.cycle(chosen)
        retrieve = _rate(lambda: client.fine_tuning.jobs.retrieve(next(ids)), NUM_REQUESTS // 4)
        events = _rate(lambda: client.fine_tuning.jobs.list_events(next(ids)), NUM_REQUESTS // 4)
    _line("openai client: jobs.retrieve", retrieve, empty)
    _line("openai client: jobs.list_events", events, empty)


def _line(what: str, rate: float, limit: float) -> None:
    print(f"{what:52}{rate:10.0f}{rate / limit:13.2f}x")


def _per_second(address: str, key: str, paths: list[str]) -> float:
    connection = http.client.HTTPConnection(address)
    remaining = itertools.cycle(paths)

    def ask() -> None:
        connection.request("GET", next(remaining), headers={"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            msg = f"{answer.status}: {body!r}"
            raise RuntimeError(msg)

    rate = _rate(ask, len(paths))
    connection.close()
    return rate


def _rate(ask: Callable[[], object], number: int) -> float:
    rates = []
    for _ in range(NUM_TRIALS):
        started = time.perf_counter()
        for _ in range(number):
            ask()
        rates.append(number / (time.perf_counter() - started))
    return statistics.median(rates)


def _print_upload(
    process: subprocess.Popen[bytes], address: str, key: str, idle_mib: float, folder: Path
) -> None:
    limit = _hash_and_write(folder)
    before = _memory_mib(process, "VmHWM")
    started = time.perf_counter()
    _upload(address, key)
    seconds = time.perf_counter() - started
    print(
        f"\nmemory: {idle_mib:.0f} MiB after the start, {before:.0f} MiB at most for all the requests above,"
    )
    print(f"{_memory_mib(process, 'VmHWM'):.0f} MiB at most while {UPLOAD_BYTES // MIB} MiB arrive")
    print(
        f"upload: {seconds:.2f} s, {seconds / limit:.1f} times what hashing and writing takes ({limit:.2f} s)"
    )


def _rows() -> Iterator[bytes]:
    """The bytes of an upload, a MiB at a time: rows of 1 KiB."""
    messages = [{"role": "user", "content": "x" * 900}, {"role": "assistant", "content": "y"}]
    row = orjson.dumps({"messages": messages})
    row += b" " * (1023 - len(row)) + b"\n"
    return itertools.repeat(row * 1024, UPLOAD_BYTES // MIB)


def _hash_and_write(folder: Path) -> float:
    started = time.perf_counter()
    digest = hashlib.sha256()
    with (folder / "limit").open("wb") as file:
        for block in _rows():
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - started


def _upload(address: str, key: str) -> None:
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{_BOUNDARY}--\r\n".encode()
    connection = http.client.HTTPConnection(address, timeout=600)
    headers = {
        "Authorization": f"Bearer {key}",
        "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
        "Content-Length": str(len(head) + UPLOAD_BYTES + len(tail)),
    }
    connection.request("POST", "/v1/files", itertools.chain([head], _rows(), [tail]), headers)
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        msg = f"{answer.status}: {answer.read()!r}"
        raise RuntimeError(msg)
    connection.close()


def _memory_mib(process: subprocess.Popen[bytes], field: str) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(status.partition(f"{field}:")[2].split(maxsplit=1)[0]) / 1024


if __name__ == "__main__":
    main()
