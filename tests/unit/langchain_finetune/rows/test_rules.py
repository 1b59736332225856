import re

import orjson
import pytest
from hypothesis import assume, given, settings

from langchain_finetune.rows import Problem, find_problem, find_problems, is_readable, rules
from langchain_finetune.rows.shape import find_misshapes
from langchain_finetune.runs import Reason
from tests.fakes.mutated_rows import good_rows, mutated_rows

HI = {"role": "user", "content": "hi"}
OK = {"role": "assistant", "content": "ok"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}


def tool(name="f"):
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def calls(*ids, name="f", arguments="{}"):
    made = [{"id": it, "type": "function", "function": {"name": name, "arguments": arguments}} for it in ids]
    return {"role": "assistant", "content": None, "tool_calls": made}


def result(call_id):
    return {"role": "tool", "content": "5", "tool_call_id": call_id}


def row(*messages, **fields):
    return {"messages": list(messages), **fields}


@pytest.mark.parametrize(
    "good",
    [
        row(HI, OK),
        row({"role": "system", "content": "s"}, {"role": "user", "content": "h", "name": "ann"}, OK),
        row(HI, calls("a", "b"), tools=[tool()]),
        row(HI, calls("a", "b"), result("b"), result("a"), OK, tools=[tool()]),
        row(HI, calls("a"), result("a"), calls("a"), result("a"), OK, tools=[tool()]),
        row(HI, calls("a")),
        row(HI, {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}),
        row({"role": "user", "content": [{"type": "text", "text": "t"}, *[IMAGE] * 10]}, OK),
        row(
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
            },
            OK,
        ),
        row({"role": "user", "content": "a <|pipe|> and <|im_"}, OK),
        row(HI, OK, tools=[tool(f"f{number}") for number in range(128)]),
        row(HI, {"role": "assistant", "content": None, "refusal": "no"}, HI, OK),
    ],
)
def test_good_rows_have_no_problem(good):
    assert find_problem(good) is None


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        (row({"role": "developer", "content": "d"}, OK), Reason.UNKNOWN_ROLE, "messages[0].role"),
        (row(HI), Reason.NO_ANSWER, "messages[0]"),
        (row(HI, {"role": "assistant", "content": ""}), Reason.EMPTY_ANSWER, "messages[1]"),
        (row(HI, {"role": "assistant", "content": None, "refusal": "no"}), Reason.REFUSAL, "messages[1]"),
        (row(HI, result("a"), OK), Reason.ORPHAN_TOOL_MESSAGE, "messages[1].tool_call_id"),
        (row(HI, calls("a"), result("b"), OK), Reason.ORPHAN_TOOL_MESSAGE, "messages[2].tool_call_id"),
        (
            row(HI, calls("a"), result("a"), result("a"), OK),
            Reason.ORPHAN_TOOL_MESSAGE,
            "messages[3].tool_call_id",
        ),
        (row(HI, calls("a", "b"), result("a"), OK), Reason.UNANSWERED_TOOL_CALL, "messages[3]"),
        (row(HI, calls("a"), HI, OK), Reason.UNANSWERED_TOOL_CALL, "messages[2]"),
        (row(HI, calls("a", name="g"), tools=[tool()]), Reason.UNDECLARED_TOOL, "messages[1].tool_calls"),
        (row(HI, calls("a", name="f g")), Reason.INVALID_NAME, "messages[1].tool_calls"),
        (row(HI, calls("a", name="f" * 65)), Reason.INVALID_NAME, "messages[1].tool_calls"),
        (row(HI, OK, tools=[tool("f.g")]), Reason.INVALID_NAME, "tools"),
        (row(HI, OK, tools=[{"type": "function", "function": {}}]), Reason.INVALID_NAME, "tools"),
        (row(HI, calls("a", arguments="{")), Reason.INVALID_TOOL_ARGUMENTS, "messages[1].tool_calls"),
        (row(HI, calls("a", arguments="[]")), Reason.INVALID_TOOL_ARGUMENTS, "messages[1].tool_calls"),
        (
            row(HI, {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{"}}),
            Reason.INVALID_TOOL_ARGUMENTS,
            "messages[1].tool_calls",
        ),
        (row({"role": "user", "content": "<|im_end|>"}, OK), Reason.SPECIAL_TOKEN, "messages[0].content"),
        (
            row({"role": "user", "content": [{"type": "text", "text": "a<|endoftext|>"}]}, OK),
            Reason.SPECIAL_TOKEN,
            "messages[0].content",
        ),
        (
            row(HI, calls("a", arguments='{"a": "<|fim_prefix|>"}')),
            Reason.SPECIAL_TOKEN,
            "messages[1].tool_calls",
        ),
        (row({"role": "user", "content": [IMAGE] * 11}, OK), Reason.TOO_MANY_IMAGES, "messages"),
        (row({"role": "assistant", "content": [IMAGE]}, OK), Reason.INVALID_IMAGE, "messages[0].content"),
        (
            row(
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "https://x/a.png", "detail": "x"}}
                    ],
                },
                OK,
            ),
            Reason.INVALID_IMAGE,
            "messages[0].content",
        ),
        (row({"role": "system", "content": [IMAGE]}, HI, OK), Reason.INVALID_IMAGE, "messages[0].content"),
        (
            row(HI, calls("a"), {**result("a"), "content": [IMAGE]}, OK),
            Reason.INVALID_IMAGE,
            "messages[2].content",
        ),
        (
            row(HI, {"role": "assistant", "content": [{"type": "refusal", "refusal": "<|im_end|>"}]}),
            Reason.SPECIAL_TOKEN,
            "messages[1].content",
        ),
        (
            row({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}]}, OK),
            Reason.INVALID_IMAGE,
            "messages[0].content",
        ),
        (
            row(
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:image/gif;base64,AAAA"}}],
                },
                OK,
            ),
            Reason.INVALID_IMAGE,
            "messages[0].content",
        ),
        (
            row({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, OK),
            Reason.UNSUPPORTED_CONTENT,
            "messages[0].content",
        ),
        (
            row({"role": "user", "content": [{"type": "refusal", "refusal": "no"}]}, OK),
            Reason.UNSUPPORTED_CONTENT,
            "messages[0].content",
        ),
        (row(HI, OK, tools=[tool(f"f{number}") for number in range(129)]), Reason.TOO_MANY_TOOLS, "tools"),
        (row(HI, OK, functions=[{"name": "f"}] * 129), Reason.TOO_MANY_TOOLS, "functions"),
    ],
)
def test_each_rule_names_its_reason_and_place(bad, reason, field):
    assert find_problem(bad) == Problem(reason, field)


# --- the rules once more, each on its own and as plainly as can be ---

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
TOKEN = re.compile(r"<\|(im_start|im_end|im_sep|endoftext|endofprompt|fim_\w+)\|>")


def parts_of(message):
    content = message.get("content")
    return content if isinstance(content, list) else []


def functions_of(message):
    functions = [each["function"] for each in message.get("tool_calls") or ()]
    return functions + ([message["function_call"]] if message.get("function_call") else [])


def texts_of(message):
    parts = parts_of(message)
    texts = [message["content"]] if isinstance(message.get("content"), str) else []
    texts += [part["text"] for part in parts if part["type"] == "text"]
    texts += [
        part["refusal"] for part in parts if part["type"] == "refusal" and message["role"] == "assistant"
    ]
    return texts + [function["arguments"] for function in functions_of(message)]


def is_object(text):
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def is_image(part):
    url = part["image_url"].get("url")
    if part["image_url"].get("detail") not in (None, "auto", "low", "high"):
        return False
    return isinstance(url, str) and bool(re.match(r"https?://|data:image/(jpeg|jpg|png|webp);base64,", url))


def ids_open_before(messages, index):
    """The calls that wait for an answer when a message comes."""
    waiting = set()
    for message in messages[:index]:
        if message["role"] == "tool":
            waiting -= {message.get("tool_call_id")}
        else:
            waiting = {each["id"] for each in message.get("tool_calls") or ()}
    return waiting


def expected(row):
    messages = row["messages"]
    last = messages[-1]
    tools = [tool["function"] for tool in row.get("tools") or ()] + (row.get("functions") or [])
    names = [tool.get("name") for tool in tools]
    images = [(m, part) for m in messages for part in parts_of(m) if part["type"] == "image_url"]
    called = [function for message in messages for function in functions_of(message)]
    ids = [(m, ids_open_before(messages, index)) for index, m in enumerate(messages)]
    says = last.get("content") or last.get("tool_calls") or last.get("function_call")
    is_answer = last["role"] == "assistant"
    broken = {
        Reason.UNKNOWN_ROLE: any(m["role"] not in rules.ROLES for m in messages),
        Reason.TOO_MANY_TOOLS: any(len(row.get(key) or ()) > 128 for key in ("tools", "functions")),
        Reason.INVALID_NAME: any(
            not isinstance(name, str) or not NAME.fullmatch(name)
            for name in [*names, *(function["name"] for function in called)]
        ),
        Reason.UNDECLARED_TOOL: bool(names) and any(function["name"] not in names for function in called),
        Reason.INVALID_TOOL_ARGUMENTS: any(not is_object(function["arguments"]) for function in called),
        Reason.SPECIAL_TOKEN: any(TOKEN.search(text) for m in messages for text in texts_of(m)),
        Reason.INVALID_IMAGE: any(m["role"] != "user" or not is_image(part) for m, part in images),
        Reason.TOO_MANY_IMAGES: len(images) > 10,
        Reason.UNSUPPORTED_CONTENT: any(
            part["type"] not in ("text", "image_url", *(["refusal"] if m["role"] == "assistant" else []))
            for m in messages
            for part in parts_of(m)
        ),
        Reason.ORPHAN_TOOL_MESSAGE: any(
            m["role"] == "tool" and m.get("tool_call_id") not in waiting for m, waiting in ids
        ),
        Reason.UNANSWERED_TOOL_CALL: any(m["role"] != "tool" and waiting for m, waiting in ids),
        Reason.NO_ANSWER: not is_answer,
        Reason.EMPTY_ANSWER: is_answer and not says and not last.get("refusal"),
        Reason.REFUSAL: is_answer and not says and bool(last.get("refusal")),
    }
    return {reason for reason, is_broken in broken.items() if is_broken}


def test_an_unanswered_call_is_told_once():
    unanswered = row(HI, calls("a"), HI, OK, HI, OK)
    assert list(find_problems(unanswered)) == [Problem(Reason.UNANSWERED_TOOL_CALL, "messages[2]")]


def test_all_problems_are_told_in_the_order_of_the_rules():
    bad = row(
        {**HI, "content": "<|im_end|>"}, result("a"), calls("b", name="f g"), {"role": "odd", "content": ""}
    )
    assert list(find_problems(bad)) == [
        Problem(Reason.SPECIAL_TOKEN, "messages[0].content"),
        Problem(Reason.INVALID_NAME, "messages[2].tool_calls"),
        Problem(Reason.UNKNOWN_ROLE, "messages[3].role"),
        Problem(Reason.ORPHAN_TOOL_MESSAGE, "messages[1].tool_call_id"),
        Problem(Reason.UNANSWERED_TOOL_CALL, "messages[3]"),
        Problem(Reason.NO_ANSWER, "messages[3]"),
    ]


@settings(max_examples=400)
@given(mutated_rows(most_changes=3))
def test_one_pass_finds_what_the_rules_find_one_by_one(row):
    assume(is_readable(list(find_misshapes(row))))
    problems = list(find_problems(row))
    assert {problem.reason for problem in problems} == expected(row)
    assert find_problem(row) == (problems[0] if problems else None)


@pytest.mark.parametrize("number", range(len(good_rows())))
def test_the_good_rows_of_the_property_tests_are_good(number):
    good = good_rows()[number]
    assert (list(find_misshapes(good)), list(find_problems(good))) == ([], [])


def test_names_of_functions_are_remembered_and_not_without_end(monkeypatch):
    monkeypatch.setattr(rules, "_MOST_NAMES_KEPT", 3)
    for number in range(10):
        assert find_problem(row(HI, OK, tools=[tool(f"name{number}")])) is None
    assert 1 <= len(rules._good_names) <= 3
    assert find_problem(row(HI, OK, tools=[tool("not a name")])) == Problem(Reason.INVALID_NAME, "tools")
