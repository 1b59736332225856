"""A trainer that learns nothing and keeps the job directory's contract: lock, events, checkpoints, result.

What it is to do wrong is said by its options, so that a supervisor can be shown every end of a training. More
of them may stand in the first row of the training file, behind `Trainer: `, for one job of a server's.
"""

import argparse
import fcntl
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

MARK = "Trainer: "


def main() -> None:
    directory = Path(sys.argv[-1])
    job = json.loads((directory / "job.json").read_text())
    options = _options(_wanted_by(job))
    threading.Thread(target=_die_with_the_server, daemon=True).start()
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (directory / "events.jsonl").open("ab") as events:
        _Training(options, job, directory, events).run()


def _wanted_by(job) -> list[str]:
    with Path(job["training_file"]).open("rb") as file:
        content = json.loads(file.readline())["messages"][0]["content"]
    return content.removeprefix(MARK).split() if content.startswith(MARK) else []


def _options(more: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--step-seconds", type=float, default=0.01)
    parser.add_argument("--checkpoint-every", type=int, default=2)
    parser.add_argument("--die-at", type=int, default=0, help="a step")
    parser.add_argument("--die-times", type=int, default=1, help="in how many attempts")
    parser.add_argument("--fail", default="", help="an error code")
    parser.add_argument("--hang", action="store_true")
    parser.add_argument("--garbage", action="store_true", help="lines that are no events, before the steps")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("directory", type=Path)
    return parser.parse_args([*sys.argv[1:-1], *more, sys.argv[-1]])


def _die_with_the_server() -> None:
    # The descriptor itself: a buffered reader that waits in a thread cannot be closed at the end.
    while os.read(0, 4096):
        pass
    os._exit(3)


class _Training:
    def __init__(self, options, job, directory, events) -> None:
        self._options = options
        self._job = job
        self._directory = directory
        self._events = events
        self._seq = 0

    def run(self) -> None:
        options = self._options
        with Path(self._job["training_file"]).open("rb") as file:
            num_rows = sum(1 for _ in file)
        resolved = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.0}
        told = {"phase": "started", **resolved, "total_steps": options.steps, "trained_tokens_total": 100}
        self._tell("message", f"Training {options.steps} steps on {num_rows} rows", told)
        if options.garbage:
            self._write_garbage()
        while options.hang:
            time.sleep(1)
        if options.fail:
            error = {"code": options.fail, "message": "The fake trainer was told to fail.", "param": None}
            self._finish({"version": 1, "status": "failed", "error": error})
            return
        for step in range(self._newest_checkpoint() + 1, options.steps + 1):
            self._step(step)
        self._succeed()

    def _step(self, step: int) -> None:
        options = self._options
        if step == options.die_at and self._job["attempt"] <= options.die_times:
            self._events.write(b'{"v":1,"torn')
            self._events.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(options.step_seconds)
        loss = round(1 / step, 4)
        data = {
            "step": step,
            "total_steps": options.steps,
            "train_loss": loss,
            "train_mean_token_accuracy": 0.5,
        }
        self._tell("metrics", f"Step {step}/{options.steps}: training loss={loss:.2f}", data)
        if step % options.checkpoint_every == 0:
            target = self._directory / "checkpoints" / f"step-{step}"
            temporary = self._directory / "checkpoints" / f".step-{step}"
            temporary.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                temporary.rename(target)
            self._keep_epoch(step)

    def _keep_epoch(self, step: int) -> None:
        epoch = self._directory / "epochs" / f"step-{step}"
        epoch.mkdir(parents=True, exist_ok=True)
        (epoch / "adapter.gguf").write_bytes(b"GGUF")
        told = {"phase": "checkpoint", "step": step, "metrics": {"step": step, "train_loss": 1 / step}}
        self._tell("message", f"Checkpoint created at step {step}", told)

    def _write_garbage(self) -> None:
        whole = {"v": 1, "created_at": 1.0, "type": "metrics", "level": "info", "message": "garbage"}
        lines = (
            os.urandom(2000).replace(b"\n", b""),
            b"[" * 100_000,
            b"\x00" * 5000,
            json.dumps(whole | {"message": "x" * 20_000_000}).encode(),
            json.dumps(whole | {"message": "\ud800"}).encode(),
            json.dumps(whole | {"data": {"step": 2**70}}).encode(),
            json.dumps(whole | {"created_at": float("nan")}).encode(),
            json.dumps(whole | {"created_at": 10**400}).encode(),
            json.dumps(whole | {"level": ["info"]}).encode(),
        )
        self._events.write(b"\n".join(lines) + b"\n")
        self._tell("message", "A loss that is no number", {"train_loss": float("nan")})

    def _succeed(self) -> None:
        adapter = self._directory / "adapter"
        adapter.mkdir(exist_ok=True)
        (adapter / "adapter_model.safetensors").write_bytes(b"")
        (self._directory / "adapter.gguf").write_bytes(b"GGUF")
        rows = [f"{step},{1 / step:.4f},0.5" for step in range(1, self._options.steps + 1)]
        table = "\n".join(["step,train_loss,train_mean_token_accuracy", *rows])
        (self._directory / "step_metrics.csv").write_text(table + "\n")
        result = {
            "version": 1,
            "status": "succeeded",
            "trained_tokens": 100,
            "steps": self._options.steps,
            "adapter_dir": "adapter",
            "adapter_gguf": "adapter.gguf",
            "result_csv": "step_metrics.csv",
            "base_sha256": "0" * 64,
            "train_seconds": 0.1,
            "peak_rss_bytes": 1,
        }
        self._finish(result)

    def _finish(self, result) -> None:
        temporary = self._directory / "result.json.new"
        temporary.write_text(json.dumps(result))
        temporary.rename(self._directory / "result.json")

    def _newest_checkpoint(self) -> int:
        names = (self._directory / "checkpoints").glob("step-*")
        return max((int(path.name.removeprefix("step-")) for path in names), default=0)

    def _tell(self, kind: str, message: str, data) -> None:
        self._seq += 1
        event = {
            "v": 1,
            "attempt": self._job["attempt"],
            "seq": self._seq,
            "created_at": time.time(),
            "type": kind,
            "level": "info",
            "message": message,
            "data": data,
        }
        self._events.write(json.dumps(event).encode() + b"\n")
        self._events.flush()


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)
