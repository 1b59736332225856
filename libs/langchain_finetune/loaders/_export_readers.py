"""Processes that read blocks of an export: blocks go out to them, lines of sessions come back, in order.

They run one module of this package, and are no workers of `multiprocessing`: those import the caller's main
module again, so that a script without a guard starts anew. Each is in a session of its own: Ctrl-C reaches
the caller alone, who ends them. When the caller is killed, their stdin closes, and they end too.
"""

import queue
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from types import TracebackType
from typing import IO, Any, Final, Self, TypeVar

from langchain_finetune.errors import SourceError
from langchain_finetune.handles import RunSelection
from langchain_finetune.loaders._export_blocks import BlockRead, FileBlock
from langchain_finetune.loaders._export_child import Question, receive, send
from langchain_finetune.loaders._root_feedback import RootFeedback

BLOCK_BYTES: Final = 1 << 19
"""Bytes of lines that a process gets at once: to ask costs little beside the answer."""

_AHEAD: Final = 2
"""Blocks a process that are under way: with more, memory grows; with fewer, processes wait."""

_PACKAGES: Final = str(Path(__file__).parents[2])
_COMMAND: Final = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from langchain_finetune.loaders._export_child import main; main()"
)

Answer = TypeVar("Answer")


class Readers:
    """Several processes that read blocks; left, they end, whatever they are doing."""

    def __init__(self, num_processes: int, selection: RunSelection) -> None:
        self._num_processes = num_processes
        self._selection = selection
        self._threads = ThreadPoolExecutor(num_processes, thread_name_prefix="export-reader")
        self._all: list[_Reader] = []
        self._idle: queue.SimpleQueue[_Reader] = queue.SimpleQueue()
        self._roots: RootFeedback | None = None

    def __enter__(self) -> Self:
        try:
            for _ in range(self._num_processes):
                self._all.append(_Reader(self._selection))
        except BaseException:
            self._close()
            raise
        for reader in self._all:
            self._idle.put(reader)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def read(self, blocks: Iterable[FileBlock], roots: Callable[[], RootFeedback]) -> Iterator[BlockRead]:
        """Yield what is in blocks, in their order.

        Args:
            blocks: Blocks, of which some are taken ahead.
            roots: Gives the scores on the roots of traces; called when the first run asks for them.

        Raises:
            SourceError: A process has ended.
        """
        for block, read in self._in_order(blocks, self._read):
            answer = read
            while answer is None:  # a run asks for its root; the blocks that are under way may ask as well
                self._roots = self._roots or roots()
                answer = self._threads.submit(self._read, block).result()
            yield answer

    def rated_rows(self, blocks: Iterable[FileBlock]) -> Iterator[dict[str, Any]]:
        """Yield the rows of blocks that tell the feedback on roots.

        Raises:
            SourceError: A process has ended.
        """
        for _block, rows in self._in_order(blocks, self._rated_rows):
            yield from rows

    def _in_order(
        self, blocks: Iterable[FileBlock], ask: Callable[[FileBlock], Answer]
    ) -> Iterator[tuple[FileBlock, Answer]]:
        waiting: deque[tuple[FileBlock, Future[Answer]]] = deque()
        for block in blocks:
            waiting.append((block, self._threads.submit(ask, block)))
            if len(waiting) >= _AHEAD * self._num_processes:
                first, answer = waiting.popleft()
                yield first, answer.result()
        for first, answer in waiting:
            yield first, answer.result()

    def _read(self, block: FileBlock) -> BlockRead | None:
        read: BlockRead | None = self._ask(Question(block, is_for_roots=False))
        return read

    def _rated_rows(self, block: FileBlock) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._ask(Question(block, is_for_roots=True))
        return rows

    def _ask(self, question: Question) -> Any:
        reader = self._idle.get()
        try:
            return reader.answer(question, self._roots)
        finally:
            self._idle.put(reader)

    def _close(self) -> None:
        for reader in self._all:
            reader.kill()  # nothing is lost with it: it keeps nothing, and writes no file
        self._threads.shutdown(cancel_futures=True)
        for reader in self._all:
            reader.close()


class _Reader:
    """One process, which is asked one thing after the other."""

    def __init__(self, selection: RunSelection) -> None:
        self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module, no shell
            [sys.executable, "-P", "-c", _COMMAND, _PACKAGES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._knows_roots = False
        self._told: list[Any] = [selection]

    def answer(self, question: Question, roots: RootFeedback | None) -> Any:
        """Ask, and wait for the answer.

        Args:
            question: What is asked.
            roots: The feedback on roots, once it is known.

        Raises:
            SourceError: The process has ended.
        """
        if roots is not None and not self._knows_roots:
            self._told.append(roots)
            self._knows_roots = True
        try:
            for each in (*self._told, question):
                send(_open(self._process.stdin), each)
            self._told.clear()
            return receive(_open(self._process.stdout))
        except (OSError, EOFError, ValueError, UnpicklingError) as e:
            self.kill()
            msg = (
                f"a process that reads the export has ended (exit code {self._process.wait()}): what it said "
                "stands on stderr; if nothing, memory may have run out. num_processes=1 reads without it."
            )
            raise SourceError(msg) from e

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was not sent any more
                _open(stream).close()
        self._process.wait()


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise EOFError
    return stream
