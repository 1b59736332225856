import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_server.jobs.validation import InvalidFileError, check_file

USER = {"role": "user", "content": "hi"}
SAID = {"role": "assistant", "content": "ho"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ANSWER = {"role": "tool", "tool_call_id": "c1", "content": "1"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def check(*rows, param="training_file", min_examples=1, max_examples=100, max_bytes=10_000):
    lines = [row if isinstance(row, bytes) else orjson.dumps(row) for row in rows]
    return check_file(lines, param, min_examples=min_examples, max_examples=max_examples, max_bytes=max_bytes)


def fault_of(*rows, **options) -> InvalidFileError:
    with pytest.raises(InvalidFileError) as caught:
        check(*rows, **options)
    return caught.value


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [USER, SAID]},
        {"messages": [{"role": "system", "content": "be"}, USER, SAID | {"weight": 0}, USER, SAID]},
        {"messages": [USER, CALLS], "tools": [TOOL], "parallel_tool_calls": False},
        {"messages": [USER, CALLS]},
        {"messages": [USER, CALLS, ANSWER, SAID], "tools": [TOOL]},
        {"messages": [USER, CALLS | {"content": "so"}, ANSWER, CALLS, ANSWER, SAID]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "Ann"}, SAID]},
        {"messages": [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}]},
        {"messages": [USER, {"role": "assistant", "refusal": "no"}]},
        {
            "messages": [
                USER,
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
                {"role": "function", "name": "f", "content": "1"},
                SAID,
            ],
            "functions": [{"name": "f", "description": "d"}],
        },
        {"messages": [USER, SAID], "tools": None, "functions": None},
    ],
)
def test_a_row_that_openai_takes_is_taken(row):
    assert check(row) == 1


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (b"{", "cannot be parsed. Error: line contains invalid json: "),
        (b"", "line contains invalid json: the line is empty"),
        (b'{"a": NaN}', "cannot be parsed"),
        (b"[" * 5000, "cannot be parsed"),
        ([1], "is not a JSON object"),
        ({}, "is missing key 'messages'"),
        ({"messages": []}, "'messages' must be a list with at least one"),
        ({"messages": "hi"}, "'messages' must be a list with at least one"),
        ({"messages": ["hi"]}, "message 1 is not a JSON object"),
        ({"messages": [USER, {"content": "x"}]}, "message 2 Discriminator 'role' is missing in value"),
        ({"messages": [{"role": "developer", "content": "x"}]}, "does not match any of the expected tags"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "does not match any of the expected tags"),
        ({"messages": [{"role": "user"}, SAID]}, "message 1, key 'content' must be"),
        ({"messages": [USER | {"content": None}, SAID]}, "message 1, key 'content' must be"),
        ({"messages": [USER | {"content": [1]}, SAID]}, "each part of 'content'"),
        (
            {"messages": [USER | {"content": [{"type": "image_url", "image_url": {"url": "u"}}]}, SAID]},
            "has a part of type 'image_url': this server trains on text only",
        ),
        ({"messages": [USER | {"name": 1}, SAID]}, "key 'name' must be a string"),
        ({"messages": [USER]}, "must end with an assistant message"),
        ({"messages": [SAID, USER]}, "must end with an assistant message"),
        ({"messages": [USER, {"role": "assistant", "content": ""}]}, "says nothing and calls nothing"),
        ({"messages": [USER, CALLS | {"tool_calls": []}]}, "key 'tool_calls' must be a list"),
        ({"messages": [USER, CALLS | {"tool_calls": [1]}]}, "tool call 1 must be an object"),
        ({"messages": [USER, CALLS | {"tool_calls": [CALL | {"id": 1}]}]}, "is missing key 'id'"),
        ({"messages": [USER, CALLS | {"tool_calls": [CALL, CALL]}]}, "two tool calls with the same 'id'"),
        ({"messages": [USER, CALLS | {"tool_calls": [CALL | {"function": 1}]}]}, "key 'function' must be"),
        (
            {
                "messages": [
                    USER,
                    CALLS | {"tool_calls": [CALL | {"function": {"name": "f", "arguments": {}}}]},
                ]
            },
            "key 'arguments' must be a string of JSON",
        ),
        (
            {
                "messages": [
                    USER,
                    CALLS | {"tool_calls": [CALL | {"function": {"name": "f f", "arguments": ""}}]},
                ]
            },
            "key 'name' must match",
        ),
        (
            {"messages": [USER, CALLS], "tools": [TOOL | {"function": {"name": "g"}}]},
            "calls a function that the example's tools do not have",
        ),
        ({"messages": [USER, SAID], "tools": {}}, "key 'tools' must be a list"),
        (
            {"messages": [USER, SAID], "tools": [{"type": "web"}]},
            "tool 1 must be an object of type 'function'",
        ),
        ({"messages": [USER, SAID], "functions": [{"name": "f", "parameters": 1}]}, "'parameters' must be"),
        ({"messages": [USER, SAID], "functions": [{"name": "f"}] * 129}, "a list of at most 128"),
        ({"messages": [USER, SAID], "parallel_tool_calls": 1}, "must be true or false"),
        ({"messages": [USER, ANSWER, SAID]}, "message 2 'tool_call_id' does not answer"),
        ({"messages": [USER, CALLS, ANSWER, ANSWER, SAID]}, "message 4 'tool_call_id' does not answer"),
        ({"messages": [USER, CALLS, USER, SAID]}, "message 3 comes before every 'tool_call_id'"),
        (b'{"messages": "' + b"x" * 10_000 + b'"}', "is longer than the 10000 bytes"),
    ],
)
def test_a_row_that_openai_refuses_is_refused_with_its_number(row, fault):
    error = fault_of({"messages": [USER, SAID]}, row)
    assert error.code == "invalid_training_file"
    assert error.param == "training_file"
    assert error.message.startswith(
        "The job failed due to an invalid training file. Invalid file format. Example 2"
    )
    assert fault in error.message


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"messages": [USER, SAID], "weight": 1}, 'Example 1 contains an extra "weight".'),
        ({"messages": [USER | {"weight": 1}, SAID]}, 'Example 1, message 1 contains an extra "weight".'),
        ({"messages": [USER, SAID | {"weight": True}]}, "Example 1, message 2, key 'weight' must be 0 or 1."),
        ({"messages": [USER, SAID | {"weight": 0.5}]}, "Example 1, message 2, key 'weight' must be 0 or 1."),
        (
            {"messages": [USER, SAID | {"content": "a<|im_end|>b"}]},
            "Example 1 message contains an invalid token: <|im_end|>.",
        ),
        (
            {
                "messages": [USER, CALLS],
                "tools": [TOOL | {"function": {"name": "f", "description": "<|endoftext|>"}}],
            },
            "Example 1 message contains an invalid token: <|endoftext|>.",
        ),
    ],
)
def test_a_fault_of_form_has_openais_other_code(row, fault):
    error = fault_of(row)
    assert error.code == "invalid_file_format"
    assert error.message == (
        f"The job failed due to a file format error in the training file. Invalid file format. {fault}"
    )


def test_a_validation_file_has_its_own_words():
    error = fault_of({}, param="validation_file")
    assert (error.code, error.param) == ("invalid_validation_file", "validation_file")
    assert "invalid validation file" in error.message


def test_too_few_and_too_many_examples_are_counted():
    row = {"messages": [USER, SAID]}
    error = fault_of(*[row] * 7, min_examples=10)
    assert error.code == "invalid_n_examples"
    assert error.message == "Training file has 7 example(s), but must have at least 10 examples"
    assert fault_of(min_examples=10).message.startswith("Training file has 0 example(s)")
    assert "more than the 2 examples" in fault_of(row, row, b"never read", max_examples=2).message


def test_a_byte_order_mark_is_allowed_at_the_start_only():
    line = b"\xef\xbb\xbf" + orjson.dumps({"messages": [USER, SAID]})
    assert check(line) == 1
    assert "Example 2 cannot be parsed" in fault_of(line, line).message


def test_a_message_never_says_what_a_row_says():
    secret = "xyzzy"
    rows = [
        {"messages": [{"role": secret, "content": secret}]},
        {"messages": [{"role": "user", "content": {secret: secret}}]},
        {
            "messages": [
                USER,
                CALLS | {"tool_calls": [CALL | {"function": {"name": secret + " ", "arguments": ""}}]},
            ]
        },
        b'{"messages": xyzzy}',
    ]
    for row in rows:
        assert secret not in fault_of(row).message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "role",
        "content",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "name",
        "weight",
        "refusal",
        "id",
        "type",
        "function",
    ]
)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "function"])
NEARLY = st.builds(
    lambda message, role: message | {"role": role}, st.dictionaries(KEYS, JSON, max_size=4), ROLES | JSON
)
ROWS = st.builds(
    lambda row, messages: row | {"messages": messages},
    st.dictionaries(st.sampled_from(["tools", "functions", "parallel_tool_calls", "x"]), JSON, max_size=2),
    st.lists(NEARLY, max_size=4) | JSON,
)


@given(st.lists(st.binary(max_size=40) | ROWS.map(orjson.dumps) | JSON.map(orjson.dumps), max_size=4))
def test_whatever_is_in_a_file_it_is_valid_or_refused_and_nothing_else(lines):
    with contextlib.suppress(InvalidFileError):
        assert check(*lines, min_examples=0) == len(lines)
