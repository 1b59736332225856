"""The header of a GGUF file: its metadata and where its tensors lie, read in a tenth of a second.

`gguf.GGUFReader` makes an object of every token and merge, which takes three seconds for a small model's
vocabulary. This reads the same facts and nothing else. The format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_DEFAULT_ALIGNMENT: Final = 32
_NUMBER_FORMATS: Final = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_STRING: Final = 8
_ARRAY: Final = 9


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """One tensor: its name, its shape in rows-first order, its quantization, and where its bytes start."""

    name: str
    shape: tuple[int, ...]
    quantization: int
    """A `gguf.GGMLQuantizationType`."""
    offset: int
    """From the start of the file."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says of itself before its weights."""

    metadata: Mapping[str, Any]
    tensors: tuple[TensorPlace, ...]


def is_gguf(path: Path) -> bool:
    """Whether the file starts as a GGUF file does."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def read_gguf_header(path: Path) -> GgufHeader:
    """Reads everything before the weights.

    Raises:
        ValueError: The file is no GGUF file, or it is cut off.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            msg = f"{path} is no GGUF file"
            raise ValueError(msg)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _Cursor(data).header()
            except (struct.error, KeyError, UnicodeDecodeError, OverflowError) as error:
                msg = f"the GGUF header of {path} is damaged or cut off"
                raise ValueError(msg) from error


class _Cursor:
    """A place in the file that moves as values are read."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._place = len(_MAGIC)

    def header(self) -> GgufHeader:
        (version,) = self._numbers("I")
        if version not in _VERSIONS:
            msg = f"GGUF version {version}"
            raise KeyError(msg)
        num_tensors, num_keys = self._numbers("QQ")
        metadata = {self._string(): self._value(*self._numbers("I")) for _ in range(num_keys)}
        places = [self._tensor() for _ in range(num_tensors)]
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        start = -(-self._place // alignment) * alignment
        tensors = [TensorPlace(name, shape, kind, start + offset) for name, shape, kind, offset in places]
        return GgufHeader(metadata, tuple(tensors))

    def _numbers(self, form: str) -> tuple[Any, ...]:
        numbers = struct.unpack_from("<" + form, self._data, self._place)
        self._place += struct.calcsize("<" + form)
        return numbers

    def _string(self) -> str:
        (length,) = self._numbers("Q")
        raw = self._data[self._place : self._place + length]
        if len(raw) != length:
            msg = "string behind the end of the file"
            raise struct.error(msg)
        self._place += length
        return raw.decode()

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            item_kind, length = self._numbers("IQ")
            if item_kind in _NUMBER_FORMATS:
                return list(self._numbers(f"{length}{_NUMBER_FORMATS[item_kind]}"))
            return [self._value(item_kind) for _ in range(length)]
        return self._numbers(_NUMBER_FORMATS[kind])[0]

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string()
        (num_dimensions,) = self._numbers("I")
        fastest_first = self._numbers(f"{num_dimensions}Q")
        quantization, offset = self._numbers("IQ")
        return name, tuple(reversed(fastest_first)), quantization, offset
