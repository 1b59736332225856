import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.chat_loaders import BaseChatLoader
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import Runnable
from langchain_core.tracers.base import BaseTracer

from langchain_finetune import ChatLoaderRunnable, ChatSessionFile, TrainingDataConverter
from langchain_finetune._spool import read_jsonl
from langchain_finetune.errors import SelectionError, SourceError

CALL = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}


class Chats(BaseChatLoader):
    """A loader of one's own."""

    def __init__(self, *chats, error=None):
        self.chats = chats
        self.error = error

    def lazy_load(self):
        for chat in self.chats:
            yield {"messages": chat} if isinstance(chat, list) else chat
        if self.error:
            raise self.error


def says(sender, text, **kwargs):
    return HumanMessage(text, additional_kwargs={"sender": sender, **kwargs})


def chat(script):
    """Write a chat as an export loader does: `chat("ann: hi / bot: yo")`."""
    return [says(*line.split(": ", 1)) for line in script.split(" / ")]


def texts(session):
    """Show a session as `"hi > yo"`, the AI's turns with their weight: `"hi > yo*1 > bye > ciao*"`."""
    shown = [it["content"] + (f"*{it['weight']}" if "weight" in it else "") for it in session["messages"]]
    return " > ".join([*shown, session["answer"]["content"] + "*"])


def load(*chats, **settings):
    sessions = ChatLoaderRunnable(Chats(*chats), **settings).invoke({})
    return [texts(row) for row in read_jsonl(sessions.path)]


def test_a_chat_is_a_session_and_all_turns_of_the_ai_are_trained_on():
    script = chat("ann: hi / bot: yo / ann: bye / bot: ciao / ann: thanks")
    assert load(script, ai_sender="bot") == ["hi > yo*1 > bye > ciao*"]
    assert load(script, ai_sender="bot", targets="last") == ["hi > yo*0 > bye > ciao*"]


def test_messages_in_a_row_become_one_unless_asked_not_to():
    script = chat("ann: a / ann: b / bot: x / bot: y / bob: c / ann: d / bot: z")
    assert load(script, ai_sender="bot") == ["a\n\nb > x\n\ny*1 > c > d > z*"]
    assert load(script, ai_sender="bot", merge_runs=False) == ["a > b > x*1 > y*1 > c > d > z*"]


def test_the_ai_may_have_several_names_or_be_told_by_a_predicate():
    script = chat("ann: hi / bot: yo / ann: bye / bot2: ciao")
    assert load(script, ai_sender=["bot", "bot2"]) == ["hi > yo*1 > bye > ciao*"]
    assert load(script, ai_sender=lambda message: message.content == "yo") == ["hi > yo*"]


def test_both_sides_of_an_imessage_chat_have_one_sender():
    script = [says("+1", "hi", is_from_me=False), says("+1", "yo", is_from_me=True)]
    assert load(script, ai_sender=lambda message: message.additional_kwargs["is_from_me"]) == ["hi > yo*"]


def test_messages_of_every_kind_go_through_with_their_tools():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    messages = [
        SystemMessage("be kind"),
        HumanMessage([{"type": "image_url", "image_url": {"url": "http://x"}}]),
        AIMessage("", tool_calls=[CALL]),
        ToolMessage("1", tool_call_id="c1"),
        AIMessage("done"),
    ]
    sessions = ChatLoaderRunnable(Chats({"messages": messages, "tools": [tool]})).invoke({})
    (row,) = read_jsonl(sessions.path)
    assert [it["role"] for it in row["messages"]] == ["system", "user", "assistant", "tool"]
    assert row["messages"][1]["content"][0]["type"] == "image_url"
    assert row["messages"][2]["tool_calls"][0]["function"]["name"] == "f"
    assert (row["answer"]["content"], row["tools"]) == ("done", [tool])


def test_a_turn_that_carries_a_call_is_merged_with_no_other():
    call = AIMessage("", tool_calls=[CALL], additional_kwargs={"sender": "bot"})
    text = AIMessage("done", additional_kwargs={"sender": "bot"})
    sessions = ChatLoaderRunnable(Chats([HumanMessage("hi"), call, text])).invoke({})
    (row,) = read_jsonl(sessions.path)
    assert len(row["messages"][1]["tool_calls"]) == 1
    assert row["answer"] == {"role": "assistant", "content": "done"}


def test_what_utf8_cannot_hold_is_a_rejection():
    sessions = ChatLoaderRunnable(Chats([HumanMessage("half \ud800"), AIMessage("yo")])).invoke({})
    assert sessions.rejected_by_reason == {"not_json": 1}


def test_a_chat_message_of_the_assistant_is_the_ai():
    assert load([HumanMessage("hi"), ChatMessage("yo", role="assistant")]) == ["hi > yo*"]


def test_formatted_texts_are_joined_and_messages_without_text_are_passed_over():
    script = [
        says("ann", ["see ", {"type": "bold", "text": "this"}]),
        says("ann", ""),
        *chat("bot: yo"),
        says("bot", ""),
    ]
    assert load(script, ai_sender="bot") == ["see this > yo*"]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (chat("ann: hi / bob: yo"), "no_answer"),
        ([], "no_answer"),
        ([AIMessage("I begin")], "hidden_inputs"),
        ([HumanMessage("hi"), AIMessage("")], "empty_answer"),
        ([HumanMessage([{"type": "video"}]), AIMessage("yo")], "unsupported_content"),
        (["text", AIMessage("yo")], "unknown_message"),
    ],
)
def test_a_chat_without_a_target_is_a_rejection(messages, reason):
    sessions = ChatLoaderRunnable(Chats(messages, [HumanMessage("hi"), AIMessage("yo")])).invoke({})
    assert list(read_jsonl(sessions.rejections)) == [{"run_id": "Chats-1", "reason": reason}]
    assert (sessions.num_runs, sessions.num_sessions) == (2, 1)


@pytest.mark.parametrize("given", ["a string", None, {"message": []}, {"messages": None}])
def test_what_is_no_session_is_a_rejection(given):
    sessions = ChatLoaderRunnable(Chats(given)).invoke({})
    assert sessions.rejected_by_reason == {"unknown_shape": 1}


@pytest.mark.parametrize(
    ("settings", "advice"), [({}, "say who the AI is"), ({"ai_sender": "x"}, "from ai_sender")]
)
def test_where_the_ai_never_speaks_it_is_said_who_could_be_missing(settings, advice):
    with pytest.warns(UserWarning, match=f"says nothing in the 1 chats of Chats: .*{advice}"):
        sessions = ChatLoaderRunnable(Chats(chat("ann: hi")), **settings).invoke({})
    assert sessions.num_sessions == 0


# --- long chats -----------------------------------------------------------------------------------------


def test_a_long_chat_becomes_sessions_that_end_with_the_ai():
    script = chat("ann: a / bot: 1 / ann: b / bot: 2 / ann: c / bot: 3 / ann: d")
    assert load(script, ai_sender="bot", max_messages=4) == ["a > 1*1 > b > 2*", "c > 3*"]
    assert load([SystemMessage("s"), *script], ai_sender="bot", max_messages=4)[0] == "s > a > 1*1 > b > 2*"
    assert load([SystemMessage("s"), *script], ai_sender="bot", max_messages=2) == [
        "s > a > 1*",
        "s > b > 2*",
        "s > c > 3*",
    ]
    sessions = ChatLoaderRunnable(Chats(script), ai_sender="bot", max_messages=4).invoke({})
    rows = list(read_jsonl(sessions.path))
    assert [row["run_id"] for row in rows] == ["Chats-1.1", "Chats-1.2"]
    assert {row["thread_id"] for row in rows} == {"Chats-1"}


def test_long_talk_before_an_answer_is_cut_at_its_far_end():
    script = chat("ann: a / bob: b / ann: c / bob: d / bot: 1")
    assert load(script, ai_sender="bot", max_messages=3) == ["c > d > 1*"]


def test_a_tool_call_stays_with_its_answer():
    messages = [
        HumanMessage("a"),
        AIMessage("", tool_calls=[CALL]),
        ToolMessage("1", tool_call_id="c1"),
        AIMessage("x"),
    ]
    sessions = ChatLoaderRunnable(
        Chats([*messages, HumanMessage("b"), AIMessage("y")]), max_messages=2
    ).invoke({})
    assert [len(row["messages"]) for row in read_jsonl(sessions.path)] == [3, 1]


SPEAKERS = st.lists(st.sampled_from(["ann", "bob", "bot"]), min_size=1, max_size=30)


@given(SPEAKERS, st.integers(2, 8), st.booleans())
def test_every_turn_of_the_ai_is_in_one_session_whatever_its_length(turns, most, merge):
    script = [says(name, f"{name}{number}") for number, name in enumerate(["ann", *turns, "bot"])]
    loader = ChatLoaderRunnable(Chats(script), ai_sender="bot", max_messages=most, merge_runs=merge)
    rows = list(read_jsonl(loader.invoke({}).path))
    turns_of_rows = [it for row in rows for it in (*row["messages"], row["answer"])]
    spoken = [it["content"] for it in turns_of_rows if it["role"] == "assistant"]
    said = "\n\n".join(message.content for message in script if message.content.startswith("bot"))
    assert "\n\n".join(spoken) == said
    for row in rows:
        num_ai = sum(it["role"] == "assistant" for it in (*row["messages"], row["answer"]))
        assert len(row["messages"]) + 1 <= max(most, num_ai + 1)


# --- as a stage -----------------------------------------------------------------------------------------


class Recorder(BaseTracer):
    def __init__(self):
        super().__init__()
        self.traced = []

    def _persist_run(self, run):
        self.traced.append(run)


def test_the_trace_holds_neither_chats_nor_names():
    recorder = Recorder()
    loader = ChatLoaderRunnable(Chats(chat("ann: hi / bot: yo")), ai_sender="bot")
    sessions = loader.invoke({}, config={"callbacks": [recorder]})
    assert isinstance(sessions, ChatSessionFile)
    assert sessions.source == "the chats of Chats"
    (run,) = recorder.traced
    values = (*run.inputs.values(), *run.outputs.values())
    shown = json.dumps([value.model_dump(mode="json") for value in values]) + repr(values) + repr(loader)
    assert "bot" not in shown
    assert "ann" not in shown


async def test_it_is_a_stage_of_the_pipe_and_a_chat_loader():
    chats = [chat(f"ann: question {number} / bot: answer {number}") for number in range(30)]
    loader = ChatLoaderRunnable(Chats(*chats), ai_sender="bot")
    assert isinstance(loader, Runnable)
    assert isinstance(loader, BaseChatLoader)
    assert await loader.ainvoke({}) == loader.invoke(None)
    data = (loader | TrainingDataConverter()).invoke({})
    assert data.num_train + data.num_validation + data.num_test == 30
    assert loader.load()[0]["messages"][-1].content == "answer 0"
    assert loader.get_input_jsonschema()
    assert "num_sessions" in loader.get_output_jsonschema()["properties"]


def test_the_input_overrides_the_settings():
    loader = ChatLoaderRunnable(Chats(chat("ann: hi / bot: yo")), ai_sender="nobody")
    assert loader.invoke({"ai_sender": "bot"}).num_sessions == 1
    with pytest.raises(SelectionError, match=r"sender: Extra inputs.*Its fields are ai_sender"):
        loader.invoke({"sender": "bot"})
    with pytest.raises(SelectionError, match=r"the input is a dict of ai_sender, .*, got str"):
        loader.invoke("bot")


def test_a_loader_that_fails_says_after_how_many_chats():
    loader = ChatLoaderRunnable(
        Chats(chat("ann: hi / bot: yo"), error=ValueError("secret text")), ai_sender="bot"
    )
    with pytest.raises(SourceError, match="Chats failed with ValueError after 1 chats") as caught:
        loader.invoke({})
    assert "secret" not in str(caught.value)


def test_no_loader_and_no_chat_are_errors():
    with pytest.raises(SelectionError, match="no chat loader is named"):
        ChatLoaderRunnable().invoke({})
    with pytest.raises(SelectionError, match="the chats of Chats holds no session"):
        ChatLoaderRunnable(Chats()).invoke({})
