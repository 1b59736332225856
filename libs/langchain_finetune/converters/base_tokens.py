"""Tokens by the own tokenizer of a base of the embedded server, asked of a process that ends with the work.

No server is started: the process reads the base's tokenizer, not its weights, renders each row as training
does, and ends when its input does, whoever closes it.
"""

import select
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self

import orjson

from langchain_finetune.errors import UnknownBaseError
from langchain_finetune.rows import line_of

_COMMAND: Final = (sys.executable, "-m", "finetune_server", "count-tokens")
_START_SECONDS: Final = 300.0
"""The files of a tokenizer may have to come from the Hugging Face hub."""

_ANSWER_SECONDS: Final = 120.0
_END_SECONDS: Final = 10.0


class NoTokenizer(Exception):
    """The tokenizer of a base cannot be had here, and why; never leaves the converter."""


class BaseTokenizer:
    """The tokenizer of one base, in a process.

    Args:
        base: As the embedded server knows it.
        command: What is started, without the base.

    Raises:
        UnknownBaseError: There is no such base.
        NoTokenizer: The tokenizer cannot be had: the extra is not installed, or its kind is not known.
    """

    def __init__(self, base: str, command: Sequence[str] = _COMMAND) -> None:
        self._base = base
        try:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module, no shell
                [*command, base],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as e:
            msg = f"the process that counts cannot be started: {e.strerror or e}"
            raise NoTokenizer(msg) from e
        self._finalizer = weakref.finalize(self, _end, self._process)
        try:
            self.max_tokens = self._read_start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._finalizer()

    def count(self, row: Mapping[str, Any]) -> int | None:
        """Return the tokens of a row; None for one that the base cannot be shown.

        Raises:
            NoTokenizer: The process has gone.
        """
        stdin = self._process.stdin
        try:
            if stdin is None or stdin.closed:
                raise BrokenPipeError
            stdin.write(line_of(row) + b"\n")
            stdin.flush()
        except OSError as e:
            raise self._gone() from e
        answer = self._answer(_ANSWER_SECONDS)
        return answer if isinstance(answer, int) else None

    def _read_start(self) -> int:
        said = self._answer(_START_SECONDS)
        if isinstance(said, dict) and isinstance(said.get("context_length"), int):
            return int(said["context_length"])
        reason = said.get("error") if isinstance(said, dict) else None
        if isinstance(said, dict) and said.get("is_unknown_base"):
            raise UnknownBaseError(str(reason))
        raise NoTokenizer(str(reason))

    def _answer(self, timeout: float) -> Any:
        """Return the next line, which is the only one under way."""
        stdout = self._process.stdout
        if stdout is None or not select.select([stdout], [], [], timeout)[0]:
            msg = f"the process that counts tokens for {self._base!r} did not answer within {timeout:g} s"
            raise NoTokenizer(msg)
        line = stdout.readline()
        if not line:
            raise self._gone()
        return orjson.loads(line)

    def _gone(self) -> NoTokenizer:
        self.close()
        status = self._process.returncode
        return NoTokenizer(f"the process that counts tokens for {self._base!r} ended with status {status}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
