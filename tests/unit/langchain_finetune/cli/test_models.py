import io
import json
import sys

import pytest

from tests.fakes.training_rows import TOOL, call
from tests.unit.langchain_finetune.cli.conftest import BASE, TARGET


@pytest.fixture
def tuned(cli, host, row_file):
    return cli("train", TARGET, row_file, "--json").json


def test_models_are_listed_with_their_aliases(cli, tuned):
    assert cli("models", "alias", "app@production", f"openai:{tuned['job_id']}").code == 0
    [told] = cli("models", "list", "--json").json
    assert (told["model"], told["base"], told["aliases"]) == (
        f"openai:{tuned['model']}",
        BASE,
        ["app@production"],
    )
    assert "app@production" in cli("models", "list").out


def test_there_is_no_model_yet(cli):
    assert cli("models", "list").out.startswith("No model was tuned from this machine yet")


def test_all_models_of_a_host(cli, host, tuned):
    listed = cli("models", "list", "--at", "openai").out.split()
    assert {BASE, tuned["model"]} <= {*listed}
    assert cli("models", "list", "--at", "together").code in (3, 1)


def test_an_alias_is_moved_rolled_back_and_removed(cli, host, tuned, row_file):
    other = cli("train", TARGET, row_file, "--seed", 9, "--json").json
    cli("models", "alias", "app", f"openai:{tuned['model']}", "--note", "the first")
    cli("models", "alias", "app", other["job_id"])
    history = cli("models", "alias", "app", "--json").json
    assert [move["model"]["model"] for move in history] == [other["model"], tuned["model"]]
    assert history[1]["note"] == "the first"
    [move] = cli("models", "alias", "app", "--rollback", "--json").json
    assert move["model"]["model"] == tuned["model"]
    assert tuned["model"] in cli("models", "alias").out
    assert cli("models", "alias", "app", "--remove").code == 0
    assert cli("models", "alias").out == "There is no alias.\n"
    assert cli("models", "alias", "app", "--rollback").code == 2


@pytest.mark.parametrize("arguments", [("--rollback",), ("app", "x", "--remove"), ("no name",)])
def test_an_alias_asked_for_in_a_wrong_way(cli, arguments):
    if arguments == ("no name",):
        assert cli("models", "alias", *arguments).out == "There is no alias.\n"
        return
    assert cli("models", "alias", *arguments).code == 2


def test_only_what_was_tuned_gets_an_alias(cli, host):
    called = cli("models", "alias", "app", TARGET)
    assert called.code == 2
    assert "was not tuned here" in called.err


@pytest.fixture
def names(cli, tuned, tmp_path, monkeypatch):
    """A tuned model's names, by what they are."""
    (tmp_path / "model.json").write_text(json.dumps(tuned))
    cli("models", "alias", "app@production", tuned["job_id"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(tuned).encode())))
    return {
        "model": f"openai:{tuned['model']}",
        "job": tuned["job_id"],
        "alias": "app@production",
        "file": tmp_path / "model.json",
        "stdin": "-",
    }


@pytest.mark.parametrize("way", ["model", "job", "alias", "file", "stdin"])
def test_a_model_is_asked_by_any_of_its_names(cli, host, tuned, names, way):
    called = cli("models", "chat", names[way], "Hello", "there", "--system", "Be short.")
    assert (called.code, called.out) == (0, "Hello.\n")
    [request] = host.sent("POST", "/chat/completions")
    assert request.body["model"] == tuned["model"]
    assert [message["content"] for message in request.body["messages"]] == ["Be short.", "Hello there"]


def test_what_is_piped_in_is_the_question(cli, host, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("What's 56/7?\n"))
    called = cli("models", "chat", TARGET, "--temperature", 0, "--max-tokens", 5, "--json")
    assert (called.json["text"], called.json["model"]) == ("Hello.", BASE)
    [request] = host.sent("POST", "/chat/completions")
    assert request.body["messages"] == [{"role": "user", "content": "What's 56/7?"}]
    assert request.body["temperature"] == 0


def test_tools_are_bound_and_calls_shown(cli, host, tmp_path):
    host.answer = lambda _: {"role": "assistant", "content": None, "tool_calls": [call()]}
    (tmp_path / "row.jsonl").write_text(json.dumps({"messages": [], "tools": [TOOL]}) + "\n")
    (tmp_path / "tools.json").write_text(json.dumps([TOOL]))
    for name in ("row.jsonl", "tools.json"):
        called = cli("models", "chat", TARGET, "Reckon", "--tools", tmp_path / name)
        assert called.out == "Calculator(num1=56)\n"
    assert host.sent("POST", "/chat/completions")[0].body["tools"] == [TOOL]
    (tmp_path / "tools.json").write_text("{}")
    assert cli("models", "chat", TARGET, "Reckon", "--tools", tmp_path / "tools.json").code == 2


def test_a_conversation_keeps_what_was_said(cli, host, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("Hello\n\nAnd you?\n"))
    called = cli("models", "chat", TARGET)
    assert called.code == 0
    second = host.sent("POST", "/chat/completions")[1].body["messages"]
    assert [message["content"] for message in second] == ["Hello", "Hello.", "And you?"]


def test_a_name_that_stands_for_nothing(cli, host, tmp_path):
    assert cli("models", "chat", "nobody", "x").code == 2
    assert cli("models", "chat", "openai:ft:gpt-none", "x").code == 3
    (tmp_path / "model.json").write_text("[]")
    assert cli("models", "chat", tmp_path / "model.json", "x").code == 6
