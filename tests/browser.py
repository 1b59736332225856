"""A headless Chromium, told what to do over its own protocol."""

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

_START_SECONDS = 60.0


def chromium() -> str:
    """The browser's path; where there is none, the test is skipped and says so."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("THERE IS NO CHROMIUM ON THIS MACHINE: the pages were not looked at")
    return path


class Page:
    """One page in a browser of its own; errors of its scripts are kept."""

    def __init__(self, url: str, profile: Path, size: tuple[int, int] = (900, 900)) -> None:
        self.errors: list[str] = []
        self._open = ExitStack()
        self._numbers = itertools.count(1)
        self._process = subprocess.Popen(
            [
                chromium(),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--remote-debugging-port=0",
                f"--user-data-dir={profile}",
                f"--window-size={size[0]},{size[1]}",
                "about:blank",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            opened = connect(self._target(self._port()), max_size=None, open_timeout=_START_SECONDS)
            self._socket = self._open.enter_context(opened)
            for domain in ("Page", "Runtime", "Log"):
                self.send(f"{domain}.enable")
            self.send("Page.navigate", url=url)
            self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")
        except BaseException:
            self.close()
            raise

    def _port(self) -> int:
        for line in self._process.stderr:
            if found := re.search(r"ws://127\.0\.0\.1:(\d+)/", line):
                return int(found[1])
        msg = "the browser did not start"
        raise AssertionError(msg)

    @staticmethod
    def _target(port: int) -> str:
        targets = httpx.get(f"http://127.0.0.1:{port}/json/list", timeout=_START_SECONDS).json()
        return next(each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Tell the browser something and return its answer."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            told = json.loads(self._socket.recv(timeout=_START_SECONDS))
            if told.get("id") == number:
                return told.get("result", {})
            self._note(told)

    def _note(self, told: dict[str, Any]) -> None:
        if told.get("method") == "Runtime.exceptionThrown":
            details = told["params"]["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        if told.get("method") == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
            self.errors.append(told["params"]["entry"]["text"] + " " + told["params"]["entry"].get("url", ""))

    def evaluate(self, expression: str) -> Any:
        """Evaluate an expression in the page."""
        return self.send("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + _START_SECONDS
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, (
                expression,
                self.errors,
                self.evaluate("document.body.innerText"),
            )
            time.sleep(0.02)

    def screenshot(self, path: Path) -> None:
        """Take a picture of the page."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End the browser."""
        self._open.close()
        self._process.terminate()
        self._process.communicate()
