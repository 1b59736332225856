import pytest

from langchain_finetune.rows import Problem, find_problem
from langchain_finetune.runs import Reason

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
