"""The adapter as it was at the end of an epoch, ready to be served: `epochs/step-N/`.

Unlike a checkpoint it holds no state of the optimizer: it is there to be asked, not to go on from. The server
removes what it does not offer any more.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from finetune_server.training.adapter_gguf import write_adapter_gguf

ADAPTER_GGUF: Final = "adapter.gguf"
_ADAPTER_FILES: Final = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, slots=True)
class EpochAdapters:
    """The adapters of one job's epochs.

    Args:
        directory: The job's `epochs`.
        base_dir: The base's Hugging Face directory.
        has_gguf: Whether the base is served by llama.cpp, which loads an adapter from a GGUF file.
    """

    directory: Path
    base_dir: Path
    has_gguf: bool

    def keep(self, written: Path, step: int) -> None:
        """Takes the adapter out of a checkpoint that was just written, whole or not at all."""
        target = self.directory / f"step-{step}"
        temporary = self.directory / f"step-{step}.new"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name in _ADAPTER_FILES:
            shutil.copyfile(written / name, temporary / name)
        if self.has_gguf:
            write_adapter_gguf(temporary, self.base_dir, temporary / ADAPTER_GGUF)
        # There is one already when a killed trainer came this far and its successor began before it.
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
