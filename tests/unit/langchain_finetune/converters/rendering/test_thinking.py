import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.converters.rendering.thinking import think, with_reasoning
from tests.fakes.recorded_sessions import assistant, calling, session, user


def qwen3(content):
    """What Qwen3's template reads of an answer: its reasoning, its text."""
    reasoning = content.split("</think>")[0].rstrip("\n").split("<think>")[-1].lstrip("\n")
    return reasoning, content.split("</think>")[-1].lstrip("\n")


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1))
def test_a_template_takes_reasoning_and_answer_apart_again(reasoning, text):
    if "<think>" in text or "</think>" in text or "<think>" in reasoning or "</think>" in reasoning:
        return
    shown = think(assistant(text), reasoning)
    read_reasoning, read_text = qwen3(shown["content"])
    assert read_reasoning == reasoning.strip().strip("\n")
    assert read_text == text.lstrip("\n")
    assert shown["content"].endswith(f"</think>\n\n{text}")


def test_a_call_has_its_reasoning_as_its_text():
    assert think(calling(), "why")["content"] == "<think>\nwhy\n</think>\n\n"
    assert think(calling(), "why")["tool_calls"] == calling()["tool_calls"]


def test_parts_of_text_get_it_in_front_of_the_first_one():
    image = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}
    text = {"type": "text", "text": "ok"}
    refusal = {"type": "refusal", "refusal": "no"}
    front = {"type": "text", "text": "<think>\nwhy\n</think>\n\n"}
    assert think(assistant([text]), "why")["content"] == [{"type": "text", "text": front["text"] + "ok"}]
    assert think(assistant([image]), "why")["content"] == [front, image]
    assert think(assistant([refusal]), "why")["content"] == [refusal]


@pytest.mark.parametrize("reasoning", [None, "", " \n", "<think></think>"])
def test_nothing_is_shown_where_there_is_nothing(reasoning):
    given = assistant("ok")
    assert think(given, reasoning) is given


def test_tags_within_reasoning_are_taken_out_for_templates_split_at_them():
    assert think(assistant("ok"), "<think>\nwhy</think> not")["content"] == "<think>\nwhy not\n</think>\n\nok"


def test_an_answer_that_shows_its_reasoning_already_is_left():
    given = assistant("<think>\na\n</think>\n\nok")
    assert think(given, "b") is given


def test_reasoning_that_belongs_to_no_turn_for_sure_is_not_shown():
    given = session(messages=[user("a"), assistant("b"), user("c")], reasoning=["why"])
    assert with_reasoning(given) is given


def test_without_a_question_all_turns_show_theirs_and_the_session_stays():
    given = session(messages=[assistant("b")], reasoning=["why", None])
    assert with_reasoning(given)["messages"][0]["content"].startswith("<think>")
    assert given["messages"] == [assistant("b")]
