"""Where the rows of earlier training data were, so that new data made from them keep them there.

A row is known again by its run's id, which the report has, and by prompts: its own, as that of an earlier row
or of an answer within one; and a shorter one, if an earlier row ended there and this one goes on from it.
What two rows merely have in common, such as the examples that every prompt brings along, is no sign.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from langchain_finetune._parsing import loads
from langchain_finetune._spool import SPLITS, load_training_data, read_jsonl
from langchain_finetune.converters.duplicates.deduplicate import digest
from langchain_finetune.converters.duplicates.digest_index import DigestIndex
from langchain_finetune.converters.splitting.groups import STRENGTH
from langchain_finetune.errors import SourceError, SourceNotFoundError
from langchain_finetune.handles import Split, TrainingData

_HANDLE: Final = "training_data.json"
_WITHIN: Final = len(STRENGTH)
"""From this bit on: the splits of rows that have this prompt within."""

Row = Mapping[str, Any]


class Pins:
    """The splits of earlier training data, about 25 bytes a run and 25 a row."""

    def __init__(self) -> None:
        self._keys = DigestIndex()
        self._bits = bytearray()

    @classmethod
    def read(cls, source: TrainingData | str | os.PathLike[str]) -> Self:
        """Read the splits of earlier data, as a stream.

        Args:
            source: The data, their fingerprint, or the path of their directory.

        Raises:
            SourceNotFoundError: They are not on this machine, or their files are not.
            SourceError: What is there is no training data.
        """
        data, pins = _resolve(source), cls()
        for split in SPLITS:
            path, bit = getattr(data, split), 1 << STRENGTH.index(split)
            for row in read_jsonl(path) if path is not None else ():
                *within, own = _prompts(row)
                pins._enter(own, bit)
                for prompt in within:
                    pins._enter(prompt, bit << _WITHIN)
        for line in read_jsonl(data.report) if data.report is not None else ():
            if "split" in line:
                pins._enter(_run_key(line["run_id"]), 1 << STRENGTH.index(line["split"]))
        return pins

    def __len__(self) -> int:
        """Return the number of different prompts and runs."""
        return len(self._bits)

    def _enter(self, key: bytes, bits: int) -> None:
        number = self._keys.enter(key)
        if number == len(self._bits):
            self._bits.append(0)
        self._bits[number] |= bits

    def _found(self, key: bytes) -> int:
        number = self._keys.find(key)
        return 0 if number is None else self._bits[number]

    def splits_of(self, row: Row, run_id: str) -> list[Split]:
        """Return where a row was, empty for a new one.

        Args:
            row: The row as it is checked, before answers of its history get weights.
            run_id: Its run.
        """
        *earlier, own = _prompts(row)
        found = self._found(own)
        bits = found | found >> _WITHIN | self._found(_run_key(run_id))
        for prompt in earlier:
            bits |= self._found(prompt)
        return [split for code, split in enumerate(STRENGTH) if bits >> code & 1]


def _prompts(row: Row) -> list[bytes]:
    """Return the hashes of what came before each answer of a row that is trained on, its own prompt last.

    Rows of all methods are read: preferences have their prompt as `input`, rows for reinforcement are one.
    """
    if "input" in row:
        return [digest(row["input"]["messages"])]
    messages = [
        {key: value for key, value in it.items() if key != "weight"} if "weight" in it else it
        for it in row["messages"]
    ]
    last = len(messages) - (messages[-1]["role"] == "assistant")
    answers = [
        number
        for number, message in enumerate(row["messages"][:last])
        if message["role"] == "assistant" and message.get("weight", 1)
    ]
    return [digest(messages[:number]) for number in (*answers, last)]


def _run_key(run_id: str) -> bytes:
    return digest(f"run:{run_id}")


def _resolve(source: TrainingData | str | os.PathLike[str]) -> TrainingData:
    if isinstance(source, TrainingData):
        return source
    path = Path(source)
    if path.name == _HANDLE:
        path = path.parent
    if (path / _HANDLE).exists():
        try:
            return TrainingData.model_validate(loads((path / _HANDLE).read_bytes()))
        except ValueError as e:
            msg = f"{path / _HANDLE} describes no training data: convert the runs again."
            raise SourceError(msg) from e
    if isinstance(source, str) and (data := load_training_data(source)):
        return data
    msg = (
        f"there is no training data {os.fspath(source)} to pin splits to: give a TrainingData, the "
        "fingerprint of one on this machine, or the directory it lies in. Old data are removed by "
        "`langchain-finetune clean`."
    )
    raise SourceNotFoundError(msg)
