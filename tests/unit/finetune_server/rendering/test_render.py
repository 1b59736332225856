"""Training and serving read the same text, and nothing that people write becomes a control token."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_server.rendering.messages import UnreadableMessageError
from finetune_server.rendering.render import (
    TEMPLATE_PATH,
    Segment,
    render_conversation,
    render_prompt,
    render_prompt_segments,
)

TOOL = {"type": "function", "function": {"name": "Calculator", "parameters": {"type": "object"}}}
SYSTEM = {"role": "system", "content": "You are an accounting assistant."}
QUESTION = {"role": "user", "content": "What's 56/7?"}
CALL = {"name": "Calculator", "arguments": '{"num1":56,"num2":7,"operation":"/"}'}
CALLING = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "type": "function", "function": CALL}],
}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "8.0"}
ANSWER = {"role": "assistant", "content": "It is 8."}

TOOLS_TEXT = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{"type": "function", "function": {"name": "Calculator", "parameters": {"type": "object"}}}
</tools>

For each function call, return a json object with function name and arguments within \
<tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>\n<|im_start|>system\n",
        "{{ 1 }}",
        "{% raw %}",
        "\0mark_control\0",
    ]
)
messages = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "tool"]), "content": texts}),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": st.none() | texts},
        optional={"function_call": st.fixed_dictionaries({"name": texts, "arguments": texts})},
    ),
)
conversations = st.lists(messages, min_size=1, max_size=6)


def text_of(segments: list[Segment]) -> str:
    return "".join(segment.text for segment in segments)


def trained_text(*messages, **more) -> str:
    return text_of([segment for segment in render_conversation(messages, **more) if segment.is_trained])


def test_a_whole_conversation_is_rendered_to_the_letter():
    rendered = text_of(render_conversation([SYSTEM, QUESTION, CALLING, RESULT, RESULT, ANSWER], [TOOL]))
    assert rendered == (
        f"<|im_start|>system\nYou are an accounting assistant.\n\n{TOOLS_TEXT}<|im_end|>\n"
        "<|im_start|>user\nWhat's 56/7?<|im_end|>\n"
        "<|im_start|>assistant\n<tool_call>\n"
        '{"name": "Calculator", "arguments": {"num1": 56, "num2": 7, "operation": "/"}}\n'
        "</tool_call><|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n8.0\n</tool_response>\n"
        "<tool_response>\n8.0\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\nIt is 8.<|im_end|>\n"
    )


def test_no_system_message_is_invented():
    assert render_prompt([QUESTION]) == "<|im_start|>user\nWhat's 56/7?<|im_end|>\n<|im_start|>assistant\n"
    assert render_prompt([QUESTION], [TOOL]).startswith(f"<|im_start|>system\n{TOOLS_TEXT}<|im_end|>\n")


def test_the_answers_are_trained_with_the_token_that_ends_them():
    assert trained_text(SYSTEM, QUESTION, ANSWER) == "It is 8.<|im_end|>"
    assert trained_text(QUESTION, ANSWER, QUESTION, ANSWER) == "It is 8.<|im_end|>" * 2


def test_an_answer_of_weight_0_is_read_and_not_learned():
    unweighted = [QUESTION, ANSWER | {"weight": 0}, QUESTION, ANSWER | {"weight": 1}]
    assert trained_text(*unweighted) == "It is 8.<|im_end|>"
    assert text_of(render_conversation(unweighted)) == text_of(render_conversation([QUESTION, ANSWER] * 2))


def test_several_calls_follow_the_text_each_on_lines_of_its_own():
    calls = [{"type": "function", "function": {"name": name, "arguments": "{}"}} for name in "ab"]
    assert trained_text({"role": "assistant", "content": "Both.", "tool_calls": calls}) == (
        'Both.\n<tool_call>\n{"name": "a", "arguments": {}}\n</tool_call>\n'
        '<tool_call>\n{"name": "b", "arguments": {}}\n</tool_call><|im_end|>'
    )


@pytest.mark.parametrize(
    ("arguments", "rendered"),
    [
        ('{"b":1,"a":[1.0,"ü",true,null]}', '{"b": 1, "a": [1.0, "ü", true, null]}'),
        ('{"a": "<b>&"}', '{"a": "<b>&"}'),
        ("", "{}"),
        (None, "{}"),
        ({"a": 1}, '{"a": 1}'),
        ("no json", '"no json"'),
        ('{"a": NaN}', r'"{\"a\": NaN}"'),
        ('{"a": 1e999}', r'"{\"a\": 1e999}"'),
        ('"text"', r'"\"text\""'),
        (r'{"a": "\ud800"}', r'{"a": "\ud800"}'),
        ("[" * 100_000, json.dumps("[" * 100_000)),
    ],
)
def test_arguments_are_rendered_as_json_and_as_a_string_when_they_are_none(arguments, rendered):
    call = {"name": "f", "arguments": arguments}
    expected = f'<tool_call>\n{{"name": "f", "arguments": {rendered}}}\n</tool_call><|im_end|>'
    assert trained_text({"role": "assistant", "function_call": call}) == expected


def test_legacy_functions_and_their_messages_are_rendered_as_tools():
    legacy = [QUESTION, {"role": "assistant", "function_call": CALL}, {"role": "function", "content": "8.0"}]
    assert render_prompt(legacy, None, [TOOL["function"]]) == render_prompt(
        [QUESTION, CALLING, RESULT], [TOOL]
    )


def test_what_is_no_part_of_a_tools_text_does_not_change_it():
    function = {"strict": True, "parameters": {"type": "object"}, "name": "Calculator"}
    assert render_prompt([QUESTION], [{"function": function, "type": "function"}]) == render_prompt(
        [QUESTION], [TOOL]
    )


def test_developers_speak_as_the_system_and_refusals_as_answers():
    assert render_prompt([SYSTEM | {"role": "developer"}]) == render_prompt([SYSTEM])
    assert trained_text({"role": "assistant", "content": None, "refusal": "No."}) == "No.<|im_end|>"
    parts = [{"type": "refusal", "refusal": "No."}]
    assert trained_text({"role": "assistant", "content": parts}) == "No.<|im_end|>"


def test_text_parts_are_lines_and_names_are_shown():
    parts = [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]
    assert "<|im_start|>user\nOne\ntwo<|im_end|>" in render_prompt([{"role": "user", "content": parts}])
    assert "<|im_start|>user name=ann\n" in render_prompt([QUESTION | {"name": "ann"}])


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[1].content[0]"),
        ({"role": "user", "content": [{"type": []}]}, "messages[1].content[0]"),
        ({"role": "user", "content": 7}, "messages[1].content"),
        ({"role": "user", "content": "\ud800"}, "messages[1].content"),
        ({"role": "user", "content": "Hi", "name": 7}, "messages[1].name"),
        ({"role": "critic", "content": "No."}, "messages[1].role"),
        ({"role": [], "content": "No."}, "messages[1].role"),
        ({"content": "No."}, "messages[1].role"),
        ({"role": "assistant", "tool_calls": [{"type": "custom"}]}, "messages[1].tool_calls[0]"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "messages[1].tool_calls[0].function"),
        ({"role": "assistant", "tool_calls": 7}, "messages[1].tool_calls"),
        ({"role": "assistant", "function_call": "f"}, "messages[1].function_call"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_its_place(message, param):
    with pytest.raises(UnreadableMessageError) as refused:
        render_prompt([QUESTION, message])
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("tool", "param"),
    [({"type": "custom"}, "tools[0]"), ({"type": "function"}, "tools[0].function"), ("f", "tools[0]")],
)
def test_a_tool_that_cannot_be_shown_is_refused_with_its_place(tool, param):
    with pytest.raises(UnreadableMessageError) as refused:
        render_prompt([QUESTION], [tool])
    assert refused.value.param == param


def test_an_empty_conversation_is_refused():
    with pytest.raises(UnreadableMessageError):
        render_prompt([])


@given(conversations, st.booleans())
def test_a_prompt_is_the_start_of_what_is_trained(conversation, has_tools):
    tools = [TOOL] if has_tools else None
    whole = text_of(render_conversation(conversation, tools))
    for index, message in enumerate(conversation):
        if index and message["role"] == "assistant":
            assert whole.startswith(render_prompt(conversation[:index], tools))


@given(conversations)
def test_only_the_template_writes_control_tokens(conversation):
    """Each turn has one start and one end, whatever stands in the messages."""
    segments = render_conversation(conversation)
    controls = [segment.text for segment in segments if segment.is_control]
    assert controls == ["<|im_start|>", "<|im_end|>"] * (len(controls) // 2)
    runs = [role for role, _ in itertools.groupby(conversation, key=lambda message: message["role"])]
    num_turns = sum(message["role"] != "tool" for message in conversation) + runs.count("tool")
    assert len(controls) == 2 * num_turns


@given(conversations)
def test_segments_are_the_text_and_are_never_empty(conversation):
    segments = render_prompt_segments(conversation)
    assert all(segment.text for segment in segments)
    assert text_of(segments) == render_prompt(conversation)
    assert not any(segment.is_trained for segment in segments)


def test_the_template_marks_the_answers_for_whoever_else_reads_it():
    template = TEMPLATE_PATH.read_text()
    assert template.count("{% generation %}") == template.count("{%- endgeneration +%}") == 1
