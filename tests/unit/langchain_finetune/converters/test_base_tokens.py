"""The tokenizer's process, played by a few lines of Python."""

import gc
import sys

import pytest

from langchain_finetune.converters import base_tokens
from langchain_finetune.converters.base_tokens import BaseTokenizer, NoTokenizer
from langchain_finetune.errors import UnknownBaseError
from tests.fakes.training_rows import text_row


def process(code):
    """A command that is given the base behind it."""
    return [
        sys.executable,
        "-c",
        f"import sys, json\nsay = lambda it: print(json.dumps(it), flush=True)\n{code}",
    ]


COUNTS_LETTERS = process(
    "say({'context_length': 77})\nfor line in sys.stdin: say(len(json.loads(line)['messages'][0]['content']))"
)


def test_a_row_is_counted_by_the_process():
    with BaseTokenizer("a-base", COUNTS_LETTERS) as tokenizer:
        assert tokenizer.max_tokens == 77
        assert [tokenizer.count(text_row(number)) for number in (1, 22)] == [10, 11]


def test_the_base_is_named_to_the_process():
    with BaseTokenizer("a-base", process("say({'context_length': len(sys.argv[1])})")) as tokenizer:
        assert tokenizer.max_tokens == len("a-base")


def test_what_the_base_cannot_be_shown_has_no_tokens():
    with BaseTokenizer(
        "x", process("say({'context_length': 7})\nfor _ in sys.stdin: say(None)")
    ) as tokenizer:
        assert tokenizer.count(text_row(1)) is None


def test_an_unknown_base_is_an_error_with_the_processes_words():
    code = "say({'error': 'there is no such base', 'is_unknown_base': True})"
    with pytest.raises(UnknownBaseError, match="there is no such base"):
        BaseTokenizer("x", process(code))


def test_a_tokenizer_that_cannot_be_had_says_why():
    code = "say({'error': 'jinja2 is not installed here', 'is_unknown_base': False})"
    with pytest.raises(NoTokenizer, match="jinja2 is not installed here"):
        BaseTokenizer("x", process(code))


def test_a_process_that_says_nothing_is_told_by_its_status():
    with pytest.raises(NoTokenizer, match="ended with status 3"):
        BaseTokenizer("x", process("sys.exit(3)"))


def test_a_program_that_is_not_there_is_told():
    with pytest.raises(NoTokenizer, match="cannot be started: No such file"):
        BaseTokenizer("x", ["/no/such/program"])


def test_a_process_that_goes_in_the_middle_is_told():
    with BaseTokenizer("x", process("say({'context_length': 7})\nsys.stdin.readline()")) as tokenizer:
        with pytest.raises(NoTokenizer, match="ended with status 0"):
            tokenizer.count(text_row(1))
        with pytest.raises(NoTokenizer):
            tokenizer.count(text_row(1))


def test_a_process_that_hangs_is_given_up_and_ended(monkeypatch):
    monkeypatch.setattr(base_tokens, "_START_SECONDS", 0.0)
    monkeypatch.setattr(base_tokens, "_END_SECONDS", 0.0)
    started = []
    popen = base_tokens.subprocess.Popen
    monkeypatch.setattr(
        base_tokens.subprocess,
        "Popen",
        lambda *args, **more: started.append(popen(*args, **more)) or started[0],
    )
    with pytest.raises(NoTokenizer, match="did not answer within 0 s"):
        BaseTokenizer("x", process("import time\nwhile True: time.sleep(60)"))
    assert started[0].returncode is not None


def test_the_process_ends_with_whom_it_counts_for():
    tokenizer = BaseTokenizer("x", COUNTS_LETTERS)
    child = tokenizer._process
    del tokenizer
    gc.collect()
    assert child.returncode == 0
