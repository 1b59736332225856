"""A child reads exactly what the server wrote."""

from pathlib import Path

from finetune_server.inference.engine_config import EngineConfig, read_config, write_config


def test_a_configuration_survives_the_pipe():
    config = EngineConfig(
        engine="llama.cpp",
        model_path=Path("/models/ü b.gguf"),
        adapters=(Path("/a\n.gguf"), Path("/b.gguf")),
        context_length=8192,
        num_slots=4,
        num_threads=2,
        key="secret",
    )
    line = write_config(config)
    assert line.count(b"\n") == 1
    assert read_config(line) == config
