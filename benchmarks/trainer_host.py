"""The fake host for the trainer's benchmark: its jobs go by a clock, and no upload is kept."""

import hashlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fakes import loopback
from tests.fakes.loopback import Request, Response
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_plan import Plan

_KEPT_BYTES = 64 * 1024
_BLOCK_BYTES = 1024 * 1024


class Host(FakeHost):
    """The fake host, on a clock that the pauses of its clients move on.

    Args:
        base: The base model that it trains.
    """

    def __init__(self, base: str) -> None:
        super().__init__(bases=(base,))
        self.seconds = 0.0
        self.queue_seconds = 0.0
        self.step_seconds = 0.0
        self.sha256: list[str] = []
        """Of each upload that was discarded."""

    def carry_out(self, request: Request) -> Response | Exception:
        """Answer one request; a pause is not one."""
        if request.path != "/clock":
            return super().carry_out(request)
        with self._lock:
            self.seconds += request.body["seconds"]
        return Response(200, {})

    def _life(self, job_id: str, plan: Plan) -> Iterator[str]:
        created = self.seconds
        num_steps = 0
        while (training := self.seconds - created - self.queue_seconds) < 0:
            yield "queued"
        self.jobs[job_id]["estimated_finish"] = int(time.time() + self.step_seconds * plan.num_steps)
        while True:
            due = int(training / self.step_seconds) if self.step_seconds else plan.num_steps
            for step in range(num_steps + 1, min(due, plan.num_steps) + 1):
                self.add_metrics(job_id, step, plan.num_steps)
            num_steps = min(due, plan.num_steps)
            if num_steps == plan.num_steps:
                break
            yield "running"
            training = self.seconds - created - self.queue_seconds
        self._end(job_id, "succeeded", plan)
        while True:
            yield "succeeded"

    def _upload(self, request: Request) -> dict[str, Any]:
        file = super()._upload(request)
        if "x-discarded-bytes" in request.headers:
            file["bytes"] = int(request.headers["x-discarded-bytes"])
            self.sha256.append(request.headers["x-discarded-sha256"])
        return file


@contextmanager
def serving(host: Host) -> Iterator[str]:
    """Serve over HTTP; gives the base URL."""
    original = loopback._Server  # noqa: SLF001 - the same server, with another way to read a body
    loopback._Server = _DiscardingServer  # noqa: SLF001
    try:
        with host.serve() as url:
            yield url
    finally:
        loopback._Server = original  # noqa: SLF001


class _DiscardingHandler(loopback._Handler):  # noqa: SLF001
    """Reads a large upload in blocks and hashes it, as a host does that has a disk."""

    def _content(self, headers: dict[str, str]) -> bytes:
        size = int(headers.get("content-length", 0))
        if size <= 2 * _KEPT_BYTES:
            return super()._content(headers)
        boundary = headers["content-type"].partition("boundary=")[2].encode()
        end = b"\r\n--" + boundary + b"--\r\n"
        head = self._read(_KEPT_BYTES)
        start = head.index(b"\r\n\r\n", head.index(b'filename="')) + 4
        digest = hashlib.sha256(head[start:])
        left = size - len(head) - len(end)
        while left:
            block = self._read(min(left, _BLOCK_BYTES))
            digest.update(block)
            left -= len(block)
        if self._read(len(end)) != end:
            raise ConnectionResetError
        headers["x-discarded-bytes"] = str(size - start - len(end))
        headers["x-discarded-sha256"] = digest.hexdigest()
        return head[:start] + end


class _DiscardingServer(loopback._Server):  # noqa: SLF001
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.RequestHandlerClass = _DiscardingHandler
