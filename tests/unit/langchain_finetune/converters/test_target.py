import sys

import pytest

from langchain_finetune.converters import base_tokens, target
from langchain_finetune.converters.target import Target
from langchain_finetune.errors import SettingError, UnknownBaseError, UnknownProviderError
from langchain_finetune.rows import FORMATS, Problem, count_tokens
from langchain_finetune.runs import Reason
from tests.fakes.training_rows import graded_row, preference_row, text_row, tool_row

MINI = "openai:gpt-4.1-mini-2025-04-14"
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}


def image_row():
    return {"messages": [{"role": "user", "content": [IMAGE]}, {"role": "assistant", "content": "a cat"}]}


@pytest.fixture
def counting_process(monkeypatch):
    """A process for the embedded server's tokenizer: ten tokens a message; it ends at a row named `gone`."""
    code = (
        "import sys, json\n"
        "say = lambda it: print(json.dumps(it), flush=True)\n"
        "known = sys.argv[1] == 'small'\n"
        "say({'context_length': 512} if known else {'error': 'no base', 'is_unknown_base': True})\n"
        "for line in sys.stdin if known else ():\n"
        "    if 'gone' in line: break\n"
        "    say(10 * len(json.loads(line)['messages']))\n"
    )
    started = []

    class Counted(base_tokens.BaseTokenizer):
        def __init__(self, base):
            started.append(base)
            super().__init__(base, [sys.executable, "-c", code])

    monkeypatch.setattr(target, "BaseTokenizer", Counted)
    return started


def test_without_a_target_openais_rules_are_all_there_is():
    plain = Target.of(None)
    assert (plain.min_examples, plain.max_tokens_per_example, plain.max_rows()) == (None, None, None)
    assert list(plain.find_problems(image_row())) == []
    assert (plain.token_source, plain.tokens_are_estimated) == ("recorded", True)
    assert plain.count_tokens(text_row(1)) is None
    assert not plain.needs_validation


def test_an_unknown_provider_is_the_trainers_own_error():
    with pytest.raises(UnknownProviderError, match=r"there is no provider 'opnai'.*Known providers"):
        Target.of("opnai:gpt-4.1")
    with pytest.raises(UnknownProviderError, match="it has to be provider:base"):
        Target.of("gpt-4.1")


def test_a_method_that_the_host_does_not_have_is_refused():
    with pytest.raises(SettingError, match=r"embedded server does not train by the method 'dpo'"):
        Target.of("local:small", "dpo")
    assert Target.of(MINI, "dpo").method == "dpo"


def test_limits_are_the_hosts_and_the_bases():
    mini = Target.of(MINI)
    assert (mini.min_examples, mini.max_tokens_per_example, mini.max_image_rows) == (10, 65_536, 50_000)
    assert mini.max_rows() is None
    fireworks = Target.of("fireworks:qwen3-8b")
    assert (fireworks.min_examples, fireworks.max_rows("train"), fireworks.max_rows("test")) == (
        3,
        3_000_000,
        None,
    )
    graded = Target.of("openai:o4-mini", "reinforcement")
    assert (graded.max_rows("train"), graded.max_rows("validation")) == (50_000, 1_000)
    assert graded.needs_validation


def test_rules_are_the_hosts_and_the_bases():
    problem = Problem(Reason.UNSUPPORTED_CONTENT, "messages[0].content")
    assert list(Target.of(MINI).find_problems(image_row())) == [problem]
    assert list(Target.of("openai:gpt-4o-2024-08-06").find_problems(image_row())) == []
    assert list(Target.of("local:small").find_problems(image_row())) == [problem]
    assert list(Target.of("together:x/y", "dpo").find_problems(preference_row(1))) == []


def test_a_row_over_the_hosts_bytes_is_too_long():
    row = text_row(1)
    row["messages"][0]["content"] = "x" * (8 * 2**20)
    assert list(Target.of("local:small").find_problems(row)) == [Problem(Reason.TOO_LONG, "")]
    assert list(Target.of(MINI).find_problems(row)) == []


# --- tokens ---


def test_tiktoken_counts_for_openais_bases(bytes_as_tokens):
    for name in (MINI, "azure:gpt-4.1-2025-04-14", "openai:ft:gpt-4.1-mini-2025-04-14:acme::1"):
        counting = Target.of(name)
        assert (counting.token_source, counting.tokens_are_estimated) == ("tiktoken", False)
        assert counting.count_tokens(tool_row(1)) == count_tokens(
            tool_row(1), lambda text: len(text.encode())
        )


@pytest.mark.parametrize(
    ("method", "row"), [("dpo", preference_row(1)), ("reinforcement", graded_row(1))], ids=["dpo", "graded"]
)
def test_rows_of_other_methods_are_counted_as_the_model_reads_them(bytes_as_tokens, method, row):
    expected = count_tokens(FORMATS[method].as_chat(row), lambda text: len(text.encode()))
    assert Target.of(MINI, method).count_tokens(row) == expected


def test_without_its_encoding_the_recorded_usage_stands_for_it(no_encodings):
    counting = Target.of(MINI)
    assert (counting.token_source, counting.tokens_are_estimated) == ("recorded", True)
    assert counting.count_tokens(text_row(1)) is None


def test_the_embedded_servers_base_counts_by_its_own_tokenizer(counting_process):
    with Target.of("local:small") as local:
        assert counting_process == []
        assert (local.token_source, local.max_tokens_per_example) == ("tokenizer", 512)
        assert [local.count_tokens(row) for row in (text_row(1), tool_row(2))] == [20, 20]
        assert not local.tokens_are_estimated
    assert counting_process == ["small"]


def test_after_the_end_a_count_starts_it_again(counting_process):
    local = Target.of("local:small")
    with local:
        assert local.count_tokens(text_row(1)) == 20
    with local:
        assert local.count_tokens(text_row(1)) == 20
    assert counting_process == ["small", "small"]


def test_a_base_that_the_embedded_server_does_not_know_is_an_error(counting_process):
    with Target.of("local:nope") as local, pytest.raises(UnknownBaseError, match="no base"):
        local.count_tokens(text_row(1))


def test_a_tokenizer_that_cannot_be_had_is_said_once(monkeypatch):
    def refuse(base):
        msg = "tokenizers is not installed here"
        raise base_tokens.NoTokenizer(msg)

    monkeypatch.setattr(target, "BaseTokenizer", refuse)
    with Target.of("local:small") as local:
        with pytest.warns(UserWarning, match=r"that the runs recorded.*tokenizers is not installed here"):
            assert local.token_source == "recorded"
        assert local.count_tokens(text_row(1)) is None
        assert (local.max_tokens_per_example, local.tokens_are_estimated) == (None, True)


def test_a_process_that_goes_leaves_the_recorded_usage(counting_process):
    with Target.of("local:small") as local:
        assert local.count_tokens(text_row(1)) == 20
        gone = {"messages": [{"role": "user", "content": "gone"}]}
        with pytest.warns(UserWarning, match="ended with status 0"):
            assert local.count_tokens(gone) is None
        assert local.token_source == "recorded"
        assert local.count_tokens(text_row(1)) is None


def test_a_target_shows_no_more_than_its_name():
    assert "_counting" not in repr(Target.of("local:small"))
