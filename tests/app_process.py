"""A Python program that serves HTTP, as a process: it prints its port first."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


class AppProcess:
    """The process, from its first line to its end.

    Args:
        program: The program and its arguments.
        **environment: Variables besides this process's.
    """

    def __init__(self, *program: str, **environment: str) -> None:
        paths = [str(ROOT / "libs"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, *program],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        port = self.process.stdout.readline().strip()
        if not port:
            raise AssertionError(self.process.communicate()[1][-3000:])
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> str:
        """End it as an operator does, and return what it wrote."""
        self.process.terminate()
        out, err = self.process.communicate(timeout=30)
        return out + err

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.communicate()
