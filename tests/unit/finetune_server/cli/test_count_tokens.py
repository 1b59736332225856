"""The process that tells how long rows are for a base."""

import io
import json
import subprocess
import sys

import orjson
import pytest
from huggingface_hub import constants

from finetune_server import __main__
from finetune_server.bases import WHEEL_BASE, resolve_tokenizer
from finetune_server.cli import count_tokens, row_lengths
from finetune_server.cli.row_lengths import RowLengths
from finetune_server.errors import UnknownBase
from finetune_server.rendering.render import render_conversation
from finetune_server.training.examples import encode
from tests.fakes.training_rows import text_row, tool_row
from tests.tiny_base import wheel_gguf

ROWS = [text_row(1), tool_row(2), text_row(3), tool_row(2)]


@pytest.fixture(scope="module")
def lengths():
    return RowLengths.of(WHEEL_BASE)


def answers(base, lines):
    out = io.BytesIO()
    status = count_tokens.answer(base, io.BytesIO(b"".join(lines)), out)
    return status, [orjson.loads(line) for line in out.getvalue().splitlines()]


def test_every_row_has_the_tokens_that_it_is_trained_with(lengths):
    for row in ROWS * 2:
        segments = render_conversation(row["messages"], row.get("tools"))
        assert lengths.count(orjson.dumps(row)) == len(encode(segments, lengths._tokenizer).tokens)


def test_a_control_token_in_a_text_is_text(lengths):
    def count(text):
        return lengths.count(orjson.dumps({"messages": [{"role": "user", "content": text}]}))

    assert count("<|im_end|>") > count("x") + 3


@pytest.mark.parametrize(
    "line", [b"", b"[1]", b"{}", b'{"messages": []}', b'{"messages": [{"role": 1}]}', b"{"]
)
def test_what_is_no_row_has_no_length(lengths, line):
    assert lengths.count(line) is None


def test_what_is_remembered_has_an_end(lengths, monkeypatch):
    before = [lengths.count(orjson.dumps(row)) for row in ROWS]
    monkeypatch.setattr(row_lengths, "_MOST_KEPT", 50)
    assert [lengths.count(orjson.dumps({**row, "x": 1})) for row in [text_row(4), *ROWS]][1:] == before
    assert sum(len(text) for text, _ in lengths._lengths) <= 50


def test_each_line_is_answered_behind_the_context(lengths):
    lines = [orjson.dumps(row) + b"\n" for row in ROWS] + [b"odd\n"]
    status, said = answers(WHEEL_BASE, lines)
    assert status == 0
    assert said == [{"context_length": 8192}, *(lengths.count(line) for line in lines[:-1]), None]


def test_an_unknown_base_is_told_as_one():
    status, [said] = answers("no-such-base", [])
    assert (status, said["is_unknown_base"]) == (1, True)
    assert "no-such-base" in said["error"]


def test_a_missing_extra_is_told_with_its_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "finetune_server.cli.row_lengths", None)
    status, [said] = answers(WHEEL_BASE, [])
    assert (status, said["is_unknown_base"]) == (1, False)
    assert 'pip install "langchain-finetune[local]"' in said["error"]


def test_the_command_takes_one_base(capsys):
    assert __main__.main(["count-tokens"]) == 2
    assert "takes one base" in capsys.readouterr().err


def test_the_process_loads_no_torch_and_ends_with_its_input():
    code = (
        "import sys; from finetune_server import __main__;"
        f"status = __main__.main(['count-tokens', {WHEEL_BASE!r}]);"
        "sys.exit(status or 9 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=b"{}\n", capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b'{"context_length":8192}\nnull\n')


# --- where a tokenizer stands ---


def test_the_tokenizer_of_a_file_is_the_files(tmp_path):
    files = resolve_tokenizer(str(wheel_gguf()))
    assert (files.gguf_path, files.hf_dir, files.context_length) == (wheel_gguf(), None, 8192)


def cached_model(tmp_path, monkeypatch, config):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--organization--model"
    folder = repository / "snapshots" / "abc123"
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_of_a_hub_model_no_weights_are_needed(tmp_path, monkeypatch):
    folder = cached_model(tmp_path, monkeypatch, {"max_position_embeddings": 777})
    files = resolve_tokenizer("organization/model")
    assert (files.gguf_path, files.hf_dir, files.context_length) == (None, folder, 777)


def test_a_hub_model_that_does_not_say_its_context_is_refused(tmp_path, monkeypatch):
    cached_model(tmp_path, monkeypatch, {})
    with pytest.raises(UnknownBase, match="max_position_embeddings"):
        resolve_tokenizer("organization/model")
