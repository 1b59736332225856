"""A base model as a Hugging Face directory; a GGUF file is converted once and kept.

The cache is `bases/<sha256[:16]>/`, made under a temporary name and renamed. A lock makes a second process
wait for the first, and the hash of every file shows damage, which is repaired by converting again.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import torch
from safetensors.torch import save_file

from finetune_server.bases import Base
from finetune_server.gguf_header import read_gguf_header
from finetune_server.training.llama_gguf import llama_config, llama_weights
from finetune_server.training.tokenizer_file import tokenizer_config_json, tokenizer_json

_MANIFEST: Final = "base.json"
_CACHE_VERSION: Final = 1
_PRIVATE: Final = 0o700


def hugging_face_dir(base: Base, bases_dir: Path) -> Path:
    """The directory to load the base from.

    Raises:
        UnsupportedBaseError: The GGUF file holds something that cannot be converted exactly.
    """
    if base.hf_dir is not None:
        return base.hf_dir
    if base.gguf_path is None:
        msg = f"base {base.name} has neither a GGUF file nor a directory"
        raise ValueError(msg)
    bases_dir.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
    target = bases_dir / base.sha256[:16]
    with _locked(bases_dir / f"{target.name}.lock"):
        if not _is_whole(target, base.sha256):
            _convert(base.gguf_path, base.sha256, target)
    return target


def _convert(gguf_path: Path, sha256: str, target: Path) -> None:
    partial = target.with_name(f"{target.name}.partial")
    for leftover in (partial, target):
        if leftover.exists():
            shutil.rmtree(leftover)
    partial.mkdir(mode=_PRIVATE)
    header = read_gguf_header(gguf_path)
    config = llama_config(header)
    _write_json(partial / "config.json", config)
    _write_json(partial / "tokenizer.json", tokenizer_json(header.metadata))
    tokenizer_config = tokenizer_config_json(header.metadata, config["max_position_embeddings"])
    _write_json(partial / "tokenizer_config.json", tokenizer_config)
    weights = {
        name: torch.from_numpy(values).to(torch.bfloat16).contiguous()
        for name, values in llama_weights(gguf_path, header)
    }
    save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
    files = {path.name: _hash_file(path) for path in sorted(partial.iterdir())}
    _write_json(partial / _MANIFEST, {"version": _CACHE_VERSION, "sha256": sha256, "files": files})
    partial.rename(target)


def _is_whole(target: Path, sha256: str) -> bool:
    """Whether the cache is there, of this base, and every file is as it was written."""
    try:
        manifest = orjson.loads((target / _MANIFEST).read_bytes())
        return (
            manifest["version"] == _CACHE_VERSION
            and manifest["sha256"] == sha256
            and all(_hash_file(target / name) == digest for name, digest in manifest["files"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_bytes(orjson.dumps(value))
