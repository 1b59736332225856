"""What an inference child is told at its start: one JSON line on its standard input."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

EngineName = Literal["llama.cpp", "transformers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """The configuration of one child.

    Args:
        engine: Which engine reads the model.
        model_path: A GGUF file for llama.cpp, a Hugging Face directory for transformers.
        adapters: GGUF files or PEFT directories; requests name them by their place in this list.
        context_length: Room for one prompt and its answer, in tokens.
        num_slots: How many answers may be written at a time.
        num_threads: For the computation.
        key: Every request must carry it.
    """

    engine: EngineName
    model_path: Path
    adapters: tuple[Path, ...]
    context_length: int
    num_slots: int
    num_threads: int
    key: str


def write_config(config: EngineConfig) -> bytes:
    """Return the line for a child."""
    return json.dumps(asdict(config), default=str).encode() + b"\n"


def read_config(line: bytes) -> EngineConfig:
    """Read the line in the child."""
    values: dict[str, Any] = json.loads(line)
    paths = {
        "model_path": Path(values["model_path"]),
        "adapters": tuple(Path(path) for path in values["adapters"]),
    }
    return EngineConfig(**values | paths)
