"""Checkpoints that are either whole or not there: `checkpoints/step-N/`.

The trainer writes into a directory of its own; `keep` adds a manifest with the hash of every file and renames
it into place. A checkpoint counts when its manifest is of this very job and every hash holds.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

_MANIFEST: Final = "checkpoint.json"
_VERSION: Final = 1
_NUM_KEPT: Final = 3
_PREFIX: Final = "step-"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place to go on from."""

    path: Path
    step: int


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of one job.

    Args:
        directory: The job's `checkpoints`.
        identity: What the job trains on and how; a checkpoint of something else is not used.
    """

    directory: Path
    identity: str

    def keep(self, written: Path, step: int) -> None:
        """Renames a finished checkpoint into place, and drops the oldest beyond three."""
        files = {path.name: _hash_file(path) for path in sorted(written.iterdir()) if path.is_file()}
        manifest = {"version": _VERSION, "identity": self.identity, "step": step, "files": files}
        (written / _MANIFEST).write_bytes(orjson.dumps(manifest))
        self.directory.mkdir(exist_ok=True)
        target = self.directory / f"{_PREFIX}{step}"
        if target.exists():  # a damaged one, which was skipped on the way here
            shutil.rmtree(target)
        written.rename(target)
        for step_before in sorted(self._steps())[:-_NUM_KEPT]:
            shutil.rmtree(self.directory / f"{_PREFIX}{step_before}")

    def newest(self) -> tuple[Checkpoint | None, list[int]]:
        """The newest checkpoint that can be used, and the steps of those that were skipped."""
        skipped: list[int] = []
        for step in sorted(self._steps(), reverse=True):
            path = self.directory / f"{_PREFIX}{step}"
            if self._is_usable(path, step):
                return Checkpoint(path, step), skipped
            skipped.append(step)
        return None, skipped

    def _steps(self) -> list[int]:
        names = [path.name.removeprefix(_PREFIX) for path in self.directory.glob(f"{_PREFIX}*")]
        return [int(name) for name in names if name.isdecimal()]

    def _is_usable(self, path: Path, step: int) -> bool:
        try:
            manifest: dict[str, Any] = orjson.loads((path / _MANIFEST).read_bytes())
            return (
                (manifest["version"], manifest["identity"], manifest["step"])
                == (_VERSION, self.identity, step)
                and bool(manifest["files"])
                and all(_hash_file(path / name) == digest for name, digest in manifest["files"].items())
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
