"""Which files an export consists of: a path, a folder, a glob or a list of these, here or at any fsspec URL.

A folder is read as bulk exports lay it out: `export_id=…/tenant_id=…/session_id=…/runs/year=…/…` (v1) or
`…/resource=runs/year=…/…` (v2_beta). What its names say about the runs in it is kept in `partitions`.
https://docs.langchain.com/langsmith/data-export
"""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, cast
from urllib.parse import urlsplit

from langchain_finetune.errors import MissingExtraError, SourceError, SourceNotFoundError

SUFFIXES: Final = tuple(f".{kind}{packed}" for kind in ("jsonl", "ndjson") for packed in ("", ".gz", ".zst"))
"""Endings of the JSON Lines files that are taken from a folder; `.parquet` is the other kind."""

_TAKEN: Final = (*SUFFIXES, ".parquet")
_PARTITION: Final = re.compile(r"(\w+)=([^/\\]+)[/\\]")
_DRIVERS: Final = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "hf": "huggingface_hub",
}
"""The packages that fsspec needs for a protocol."""


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of an export."""

    name: str
    """Its path or URL, without what opens it (user, password, signature): for messages."""
    open: Callable[[], BinaryIO]
    partitions: Mapping[str, str] = field(default_factory=dict)
    """What the folders on the way to it say: `{"session_id": "…", "year": "2026"}`."""


def find_files(paths: Iterable[str], storage_options: Mapping[str, Any]) -> list[ExportFile]:
    """Return the files of an export, each once, those of one folder or glob in the order of their names.

    Args:
        paths: Files, folders, globs and URLs.
        storage_options: What fsspec hands to the store of a URL, such as keys.

    Raises:
        SourceNotFoundError: A path, or a file of a glob, does not exist.
        SourceError: A folder holds no export, or a store cannot be reached.
        MissingExtraError: fsspec, or the package for the store, is not installed.
    """
    files: dict[str, ExportFile] = {}
    for path in paths:
        found = _stored(path, storage_options) if "://" in path else _local(path)
        for location, file in found:
            files.setdefault(location, file)
    return list(files.values())


def shown(path: str) -> str:
    """Return a path or URL without user, password and query, which may open what it names."""
    if "://" not in path:
        return path
    parts = urlsplit(path)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


# --- on this machine ------------------------------------------------------------------------------------


def _local(path: str) -> Iterator[tuple[str, ExportFile]]:
    path = os.path.expanduser(path)  # noqa: PTH111  # a glob is no path
    if Path(path).is_dir():
        names = _of_folder(_walk(path), path)
    elif Path(path).exists():
        names = [path]
    elif glob.has_magic(path):
        matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207  # may be absolute
        names = [name for match in matches for name in (_walk(match) if Path(match).is_dir() else [match])]
        names = _of_folder(names, path) if any(Path(match).is_dir() for match in matches) else names
    else:
        names = []
    if not names:
        msg = f"there is no file {path}: check the path (the working directory is {Path.cwd()})."
        raise SourceNotFoundError(msg)
    for name in names:
        yield str(Path(name).resolve()), ExportFile(name, _opener(name), _partitions(name))


def _opener(name: str) -> Callable[[], BinaryIO]:
    return lambda: Path(name).open("rb")


def _walk(folder: str) -> list[str]:
    return [str(path) for path in Path(folder).rglob("*") if path.is_file()]


def _of_folder(names: Sequence[str], folder: str) -> list[str]:
    """Keep what is an export of runs among the files of a folder.

    Raises:
        SourceError: There is none.
    """
    taken = sorted(filter(_is_taken, names))
    if not taken:
        msg = f"the folder {shown(folder)} holds no export of runs: expected files {', '.join(_TAKEN)}."
        raise SourceError(msg)
    return taken


def _is_taken(name: str) -> bool:
    is_hidden = PurePosixPath(name.replace(os.sep, "/")).name.startswith((".", "_"))
    return name.endswith(_TAKEN) and not is_hidden and _partitions(name).get("resource", "runs") == "runs"


def _partitions(name: str) -> dict[str, str]:
    return dict(_PARTITION.findall(name))


# --- anywhere else --------------------------------------------------------------------------------------


def _stored(url: str, options: Mapping[str, Any]) -> Iterator[tuple[str, ExportFile]]:
    scheme = url.partition("://")[0].rpartition(":")[2]
    fsspec = _fsspec(url)
    try:
        store, path = fsspec.url_to_fs(url, **options)
        names = _names(store, path, url, scheme)
    except (SourceError, MissingExtraError):
        raise
    except ImportError as e:
        driver = _DRIVERS.get(scheme, f"the package that fsspec needs for {scheme}://")
        msg = f"{shown(url)} needs a package that is not installed: pip install {driver}"
        raise MissingExtraError(msg) from e
    except FileNotFoundError as e:
        raise _nothing_at(url) from e
    except Exception as e:  # each store raises what its own client raises
        msg = f"{shown(url)} cannot be reached ({type(e).__name__}): check the URL and `storage_options`."
        raise SourceError(msg) from e
    for name in names:
        full = url if name == path else f"{scheme}://{name.removeprefix('/')}"

        def opener(name: str = name) -> BinaryIO:
            return cast("BinaryIO", store.open(name, "rb"))

        yield full, ExportFile(shown(full), opener, _partitions(name))


def _names(store: Any, path: str, url: str, scheme: str) -> list[str]:
    if scheme in ("http", "https"):  # has no folders, and to ask for one would fetch the file
        return [path]
    if glob.has_magic(path) and not store.exists(path):
        names = sorted(store.glob(path))
    elif store.isdir(path):
        return _of_folder(store.find(path), url)
    else:
        names = [path] if store.exists(path) else []
    if not names:
        raise _nothing_at(url)
    folders = [name for name in names if store.isdir(name)]
    if folders:
        return _of_folder([name for folder in folders for name in store.find(folder)], url)
    return names


def _nothing_at(url: str) -> SourceNotFoundError:
    return SourceNotFoundError(f"there is nothing at {shown(url)}: check the URL.")


def _fsspec(url: str) -> Any:
    try:
        return import_module("fsspec.core")
    except ModuleNotFoundError as e:
        msg = f'{shown(url)} is no file of this machine: pip install "langchain-finetune[parquet]"'
        raise MissingExtraError(msg) from e
