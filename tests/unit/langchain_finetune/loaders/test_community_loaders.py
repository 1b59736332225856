"""langchain-community's chat loaders feed the pipe, each on a small export as its application writes it."""

import json
import sqlite3
import warnings
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_finetune import ChatLoaderRunnable, TrainingDataConverter, convert_messages_for_finetuning
from langchain_finetune._spool import read_jsonl

with warnings.catch_warnings():
    # It warns at import that it is sunset, which is why it is no dependency here.
    warnings.filterwarnings("ignore", "`langchain-community` is being sunset", DeprecationWarning)
    from langchain_community.adapters import openai as community
    from langchain_community.chat_loaders.facebook_messenger import (
        FolderFacebookMessengerChatLoader,
        SingleFileFacebookMessengerChatLoader,
    )
    from langchain_community.chat_loaders.imessage import IMessageChatLoader
    from langchain_community.chat_loaders.slack import SlackChatLoader
    from langchain_community.chat_loaders.telegram import TelegramChatLoader
    from langchain_community.chat_loaders.utils import map_ai_messages, merge_chat_runs
    from langchain_community.chat_loaders.whatsapp import WhatsAppChatLoader

SCRIPT = [
    ("Ann", "My order is late."),
    ("Ann", "Number 17."),
    ("Support", "Sorry!"),
    ("Support", "It left today."),
    ("Ann", "Thanks"),
    ("Support", "Any time."),
    ("Ann", "Bye"),
]
EXPECTED = [
    {"role": "user", "content": "My order is late.\n\nNumber 17."},
    {"role": "assistant", "content": "Sorry!\n\nIt left today.", "weight": 1},
    {"role": "user", "content": "Thanks"},
    {"role": "assistant", "content": "Any time."},
]


def slack(folder):
    names = {"Ann": "U0000000001", "Support": "U0000000002"}
    messages = [{"type": "message", "user": names[who], "text": text, "ts": "1"} for who, text in SCRIPT]
    joined = {"type": "message", "user": "U0000000003", "text": "<@U3> has joined the channel", "ts": "0"}
    with zipfile.ZipFile(folder / "slack.zip", "w") as archive:
        archive.writestr("general/2026-01-05.json", json.dumps([joined, *messages]))
    return SlackChatLoader(folder / "slack.zip"), "U0000000002"


def whatsapp(folder):
    lines = [f"[1/5/26, 10:00:{second:02}] {who}: {text}" for second, (who, text) in enumerate(SCRIPT)]
    lines.insert(3, "[1/5/26, 10:00:30] Support: <Media omitted>")
    (folder / "chat.txt").write_text("\n".join(lines))
    return WhatsAppChatLoader(str(folder / "chat.txt")), "Support"


def telegram(folder):
    messages = [{"type": "message", "date": "2026-01-05", "from": who, "text": text} for who, text in SCRIPT]
    messages[2]["text"] = ["Sor", {"type": "bold", "text": "ry!"}]
    messages.insert(0, {"type": "service", "actor": "Ann", "action": "create_group", "text": ""})
    (folder / "result.json").write_text(json.dumps({"name": "Ann", "messages": messages}))
    return TelegramChatLoader(folder / "result.json"), "Support"


def facebook(folder):
    messages = [
        {"sender_name": who, "timestamp_ms": number, "content": text}
        for number, (who, text) in enumerate(SCRIPT)
    ]
    messages.append({"sender_name": "Support", "timestamp_ms": 99, "photos": []})
    path = folder / "inbox" / "ann_1" / "message_1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"messages": messages[::-1]}))
    return SingleFileFacebookMessengerChatLoader(path), "Support"


def facebook_folder(folder):
    facebook(folder)
    return FolderFacebookMessengerChatLoader(folder), "Support"


def imessage(folder):
    database = sqlite3.connect(folder / "chat.db")
    database.executescript(
        "CREATE TABLE message (date INT, handle_id INT, text TEXT, is_from_me INT, attributedBody BLOB);"
        "CREATE TABLE handle (id TEXT);"
        "CREATE TABLE chat_message_join (chat_id INTEGER, message_id INTEGER);"
        "INSERT INTO handle VALUES ('+15550100');"
    )
    for number, (who, text) in enumerate(SCRIPT, start=1):
        row = (number * 10**9, 1, text, who == "Support", None)
        database.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", row)
        database.execute("INSERT INTO chat_message_join VALUES (1, ?)", (number,))
    database.commit()
    database.close()
    # Both sides carry the other one's handle as their sender.
    return IMessageChatLoader(folder / "chat.db"), lambda it: it.additional_kwargs["is_from_me"]


EXPORTS = [slack, whatsapp, telegram, facebook, facebook_folder, imessage]


@pytest.mark.parametrize("export", EXPORTS)
def test_an_export_becomes_a_row_that_ends_with_the_ai(tmp_path, export):
    loader, ai_sender = export(tmp_path)
    stage = ChatLoaderRunnable(loader, ai_sender=ai_sender)
    converter = TrainingDataConverter(min_examples=1, validation_fraction=0, test_fraction=0)
    data = (stage | converter).invoke({})
    assert data.num_train == data.num_runs == 1
    assert list(read_jsonl(data.train)) == [{"messages": EXPECTED}]


@pytest.mark.parametrize("export", [slack, whatsapp, facebook])
def test_merging_and_casting_are_those_of_langchain_community(tmp_path, export):
    loader, ai_sender = export(tmp_path)
    (theirs,) = map_ai_messages(merge_chat_runs(loader.lazy_load()), ai_sender)
    (ours,) = ChatLoaderRunnable(loader, ai_sender=ai_sender).lazy_load()
    last = max(index for index, message in enumerate(theirs["messages"]) if message.type == "ai")
    assert [(it.type, it.content) for it in ours["messages"]] == [
        (it.type, it.content) for it in theirs["messages"][: last + 1]
    ]


# --- convert_messages_for_finetuning --------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CALL = {"name": "f", "arguments": '{"a": 1}'}
TOOL_CALLS = st.lists(st.just({"id": "c1", "type": "function", "function": CALL}), min_size=1, max_size=3)
SPACES = st.sampled_from(["", " ", "  "])


@st.composite
def called_twice(draw):
    """As clients of core 0.2 and 0.3 made it, and our own loaders: the call parsed, and as it was written."""
    arguments = draw(st.dictionaries(TEXT, st.integers(-9, 9) | TEXT, max_size=2))
    space = draw(SPACES)
    text = json.dumps(arguments, separators=(f",{space}", f":{space}"), ensure_ascii=draw(st.booleans()))
    written = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": text}}
    parsed = {"name": "f", "args": arguments, "id": "c1", "type": "tool_call"}
    return AIMessage(draw(TEXT), tool_calls=[parsed], additional_kwargs={"tool_calls": [written]})


MESSAGE = st.one_of(
    called_twice(),
    st.builds(HumanMessage, TEXT),
    st.builds(HumanMessage, TEXT, additional_kwargs=st.just({"name": "ann"})),
    st.builds(SystemMessage, TEXT),
    st.builds(SystemMessage, TEXT, additional_kwargs=st.just({"__openai_role__": "developer"})),
    st.builds(AIMessage, TEXT),
    st.builds(AIMessage, TEXT, additional_kwargs=st.just({"function_call": CALL})),
    st.builds(AIMessage, TEXT, additional_kwargs=st.fixed_dictionaries({"tool_calls": TOOL_CALLS})),
    st.builds(FunctionMessage, TEXT, name=st.just("f")),
    st.builds(ToolMessage, TEXT, tool_call_id=st.just("c1")),
)
SESSIONS = st.lists(st.fixed_dictionaries({"messages": st.lists(MESSAGE, max_size=6)}), max_size=4)


@given(SESSIONS)
def test_conversion_is_langchain_communitys_to_the_byte_where_that_was_right(sessions):
    ours = convert_messages_for_finetuning(sessions)
    assert json.dumps(ours) == json.dumps(community.convert_messages_for_finetuning(sessions))


def test_conversion_keeps_the_tool_calls_that_langchain_community_loses():
    call = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
    sessions = [{"messages": [HumanMessage("hi", name="ann"), AIMessage("", tool_calls=[call])]}]
    (theirs,) = community.convert_messages_for_finetuning(sessions)
    (ours,) = convert_messages_for_finetuning(sessions)
    assert theirs == [{"role": "user", "content": "hi"}, {"role": "assistant", "content": ""}]
    assert ours[0]["name"] == "ann"
    assert ours[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": 1}'}
