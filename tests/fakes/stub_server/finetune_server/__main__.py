"""A stand-in for the embedded server that starts in a blink and keeps to its side of the contract.

It announces itself, proves its life by the lock, takes the key, and knows one job: its states and events are
what lies in `job.json` of the state directory. `STUB_MODE` lets it misbehave at its start.
"""

import argparse
import fcntl
import json
import os
import secrets
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--idle-minutes", type=float, required=True)
    parser.add_argument("--log-file", type=Path, required=True)
    directory = parser.parse_args().state_dir
    with (directory / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    mode = os.environ.get("STUB_MODE", "")
    if mode == "fail":
        sys.stderr.write("the port is cursed\n")
        return 3
    if mode == "hang":
        time.sleep(60)
    lock = (directory / "server.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    return serve(directory)


def serve(directory: Path) -> int:
    # A moment of startup, for others to race into.
    time.sleep(0.2)
    key_file = directory / "api_key"
    if not key_file.exists():
        key_file.write_text(f"sk-local-{secrets.token_hex(8)}\n")
    server = ThreadingHTTPServer(
        ("127.0.0.1", remembered_port(directory)), type("Bound", (Handler,), {"directory": directory})
    )
    port = server.server_port
    (directory / "port").write_text(str(port))
    announcement = {"version": 1, "pid": os.getpid(), "port": port, "base_url": f"http://127.0.0.1:{port}/v1"}
    (directory / "server.json.new").write_text(json.dumps(announcement))
    (directory / "server.json.new").replace(directory / "server.json")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.serve_forever(0.01)
    finally:
        (directory / "server.json").unlink()
    return 0


def remembered_port(directory: Path) -> int:
    file = directory / "port"
    return int(file.read_text()) if file.exists() else 0


class Handler(BaseHTTPRequestHandler):
    directory: Path

    def _respond(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        status, body = self._answer()
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _respond  # noqa: N815  the names that http.server calls

    def _answer(self) -> tuple[int, object]:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            return 200, {"status": "ok"}
        if self.headers.get("authorization") != f"Bearer {(self.directory / 'api_key').read_text().strip()}":
            return 401, {"error": {"message": "no", "code": "invalid_api_key"}}
        return 200, self._body(path)

    def _body(self, path: str) -> object:
        if path == "/v1/models":
            return {"object": "list", "data": []}
        if path == "/v1/chat/completions":
            message = {"role": "assistant", "content": f"from {os.getpid()}"}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            return {"id": "c", "object": "chat.completion", "choices": [choice], "model": "m"}
        job = json.loads((self.directory / "job.json").read_bytes())
        if path.startswith("/v1/models/"):
            return {"id": job["job"]["fine_tuned_model"], "object": "model", "max_model_len": 2048}
        if path.endswith("/events"):
            return {"object": "list", "data": list(reversed(job["events"])), "has_more": False}
        return job["job"]

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    sys.exit(main())
