"""The random two-layer model, written and converted once for all tests of this room."""

from pathlib import Path

import pytest

from finetune_server.bases import Base, resolve_base
from finetune_server.training.base_model import hugging_face_dir
from finetune_server.training.examples import load_tokenizer
from tests.tiny_base import write_tiny_base


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny_base(tiny_gguf) -> Base:
    return resolve_base(str(tiny_gguf))


@pytest.fixture(scope="session")
def tiny_dir(tiny_base, tmp_path_factory) -> Path:
    return hugging_face_dir(tiny_base, tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="session")
def tokenizer(tiny_dir):
    return load_tokenizer(tiny_dir)
