"""The tuned model answers, plain and streamed, with calls, schemas, choices and probabilities."""

import json

import pytest

from tests.conformance.driver import items, refused

QUESTION = [{"role": "user", "content": "Say 1."}]
LAMP = {
    "type": "object",
    "properties": {"color": {"type": "string", "enum": ["red", "green"]}, "is_on": {"type": "boolean"}},
    "required": ["color", "is_on"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {"name": "set_lamp", "description": "Sets a lamp.", "parameters": LAMP},
}
FORCED = {"type": "function", "function": {"name": "set_lamp"}}


@pytest.fixture
def ask(client, host, trained):
    host.needs("chat")

    def create(**more):
        wanted = {"model": trained.fine_tuned_model, "messages": QUESTION, "max_tokens": 8} | more
        return client.chat.completions.create(**wanted)

    return create


def check_lamp(text: str) -> None:
    found = json.loads(text)
    assert found.keys() == {"color", "is_on"}
    assert found["color"] in {"red", "green"}
    assert isinstance(found["is_on"], bool)


async def test_an_answer_counts_its_tokens(ask, trained):
    answer = await ask(max_tokens=3)
    (choice,) = answer.choices
    assert answer.model == trained.fine_tuned_model
    assert (choice.index, choice.message.role) == (0, "assistant")
    assert choice.finish_reason in {"stop", "length"}
    assert 0 < answer.usage.completion_tokens <= 3
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_a_conversation_may_have_every_role(ask):
    call = {"id": "call_1", "type": "function"}
    call["function"] = {"name": "set_lamp", "arguments": '{"color": "red", "is_on": true}'}
    messages = [
        {"role": "system", "content": "You set lamps."},
        {"role": "user", "content": [{"type": "text", "text": "Set it."}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ]
    assert (await ask(messages=messages, tools=[TOOL])).choices


async def test_a_stream_says_what_the_plain_answer_says_and_ends_with_its_usage(ask):
    wanted = {"temperature": 0, "max_tokens": 6}
    plain = await ask(**wanted)
    chunks = await items(await ask(**wanted, stream=True, stream_options={"include_usage": True}))
    *parts, last = chunks
    assert last.choices == []
    assert last.usage.prompt_tokens == plain.usage.prompt_tokens
    assert all(part.usage is None for part in parts)
    assert parts[0].choices[0].delta.role == "assistant"
    assert parts[-1].choices[0].finish_reason == plain.choices[0].finish_reason
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    assert text == plain.choices[0].message.content
    assert len({chunk.id for chunk in chunks}) == 1


async def test_tools_may_be_offered(ask, host):
    host.needs("tools")
    choice = (await ask(tools=[TOOL], tool_choice="auto")).choices[0]
    assert choice.message.content is not None or choice.message.tool_calls


@pytest.mark.parametrize("choice", [FORCED, "required"], ids=["named", "required"])
async def test_a_forced_call_keeps_to_its_schema(ask, host, choice):
    host.needs("tools")
    answer = (await ask(tools=[TOOL], tool_choice=choice, parallel_tool_calls=False, max_tokens=200)).choices[
        0
    ]
    (call,) = answer.message.tool_calls
    assert (call.type, call.function.name) == ("function", "set_lamp")
    assert answer.finish_reason in {"stop", "tool_calls"}
    check_lamp(call.function.arguments)


async def test_a_forced_call_can_be_streamed(ask, host):
    host.needs("tools")
    chunks = await items(
        await ask(tools=[TOOL], tool_choice=FORCED, max_tokens=200, stream=True), at_most=1000
    )
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert {call.index for call in calls} == {0}
    assert "".join(call.function.name or "" for call in calls) == "set_lamp"
    check_lamp("".join(call.function.arguments or "" for call in calls))


async def test_an_answer_keeps_to_a_json_schema(ask, host):
    host.needs("json_schema")
    form = {"type": "json_schema", "json_schema": {"name": "lamp", "schema": LAMP, "strict": True}}
    for _ in range(5):
        answer = (await ask(response_format=form, max_tokens=200, temperature=1)).choices[0]
        assert answer.finish_reason == "stop"
        check_lamp(answer.message.content)


async def test_several_choices_are_given(ask, host):
    host.needs("n")
    answer = await ask(n=3, temperature=1)
    assert sorted(choice.index for choice in answer.choices) == [0, 1, 2]


async def test_log_probabilities_are_those_of_the_text(ask, host):
    host.needs("logprobs")
    choice = (await ask(logprobs=True, top_logprobs=2, temperature=0, max_tokens=4)).choices[0]
    tokens = choice.logprobs.content
    assert 0 < len(tokens) <= 4
    for token in tokens:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 2
        assert token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob


async def test_a_model_that_does_not_exist_does_not_answer(ask):
    assert (await refused(ask(model="no-such-model"), 404)).code == "model_not_found"


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"n": 0}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "nobody", "content": "a"}]}, "messages"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"response_format": {"type": "nonsense"}}, "response_format"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}},
            "tool_choice",
        ),
    ],
)
async def test_a_bad_request_is_refused_with_the_parameter_that_is_to_blame(ask, change, param, is_streamed):
    error = await refused(ask(**change, stream=is_streamed), 400)
    assert error.type == "invalid_request_error"
    assert param in error.param
