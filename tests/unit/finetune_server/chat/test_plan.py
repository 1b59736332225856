"""From a request to what the engine is to do."""

import pytest

from finetune_server.chat.plan import DEFAULT_MAX_TOKENS, check_engine, completion_requests, plan_answer
from finetune_server.chat.request import ChatRequest
from finetune_server.errors import ApiError
from finetune_server.inference.completion import EngineFacts, Sampling

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
FACTS = EngineFacts(
    name="transformers",
    context_length=100,
    base_sha256="0",
    unsupported=frozenset({"logit_bias", "presence_penalty"}),
)


def request(**more) -> ChatRequest:
    return ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | more)


def plan(**more):
    return plan_answer(request(**more))


def refusal(**more) -> ApiError:
    with pytest.raises(ApiError) as refused:
        plan(**more)
    assert refused.value.status == 400
    return refused.value


def schema(value, *, is_strict=True) -> dict:
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": value, "strict": is_strict}}


def test_the_defaults_are_openais():
    planned = plan()
    assert planned.sampling == Sampling()
    assert planned.stop == ("<|im_end|>",)
    assert planned.grammar is None
    assert planned.num_logprobs is None
    assert (planned.num_choices, planned.max_tokens) == (1, DEFAULT_MAX_TOKENS)


def test_zeros_are_wishes_too():
    planned = plan(temperature=0, top_p=0, seed=0, logprobs=True, top_logprobs=0)
    assert planned.sampling == Sampling(temperature=0, top_p=0, seed=0)
    assert planned.num_logprobs == 0


def test_stop_texts_come_before_the_servers_own():
    assert plan(stop="a").stop == ("a", "<|im_end|>")
    assert plan(stop=["a", "", "b"]).stop == ("a", "b", "<|im_end|>")


def test_where_one_call_is_allowed_the_answer_ends_with_it():
    assert plan(tools=[TOOL], parallel_tool_calls=False).stop == ("<|im_end|>", "</tool_call>")
    assert plan(tools=[TOOL]).stop == ("<|im_end|>",)
    assert plan(tools=[TOOL], tool_choice="none", parallel_tool_calls=False).stop == ("<|im_end|>",)


def test_each_choice_has_a_seed_of_its_own_and_as_much_room_as_there_is():
    requests = completion_requests(plan(n=3, seed=5), tuple(range(60)), FACTS)
    assert [each.sampling.seed for each in requests] == [5, 6, 7]
    assert {each.max_tokens for each in requests} == {40}
    (bounded,) = completion_requests(plan(max_completion_tokens=7), tuple(range(60)), FACTS)
    assert bounded.max_tokens == 7
    assert bounded.sampling.seed is None


def test_a_prompt_that_leaves_no_room_is_refused():
    with pytest.raises(ApiError) as refused:
        completion_requests(plan(), tuple(range(100)), FACTS)
    assert refused.value.code == "context_length_exceeded"


@pytest.mark.parametrize("wish", [{"logit_bias": {"1": 5}}, {"presence_penalty": 0.5}])
def test_what_the_engine_cannot_do_is_refused_and_named(wish):
    with pytest.raises(ApiError, match="transformers engine") as refused:
        check_engine(request(**wish), FACTS)
    assert refused.value.param in wish


@pytest.mark.parametrize(
    "no_wish", [{}, {"logit_bias": {}}, {"presence_penalty": 0}, {"frequency_penalty": 1}]
)
def test_what_is_not_asked_for_is_not_refused(no_wish):
    check_engine(request(**no_wish), FACTS)


def test_a_schema_that_cannot_be_kept_is_refused_and_named():
    impossible = {"type": "object", "not": {}}
    assert refusal(response_format=schema(impossible)).param == "response_format.json_schema.schema"
    assert plan(response_format=schema(impossible, is_strict=False)).grammar
    assert refusal(response_format=schema({"type": "bogus"}, is_strict=False)).code == "invalid_json_schema"
    function = {"name": "f", "strict": True, "parameters": impossible}
    tool = {"type": "function", "function": function}
    assert refusal(tools=[TOOL, tool], tool_choice="required").param == "tools[1].function.parameters"
    assert refusal(functions=[function], function_call={"name": "f"}).param == "functions[0].parameters"


def test_a_response_format_without_its_schema_is_refused():
    assert refusal(response_format={"type": "json_schema"}).param == "response_format"
    assert plan(response_format={"type": "text"}).grammar is None
    assert plan(response_format={"type": "json_object"}).grammar


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"tools": [{"type": "custom"}]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function"}], "tool_choice": "required"}, "tools[0].function"),
        ({"tools": [{"function": {"name": "f", "parameters": "p"}}]}, "tools[0].function.parameters"),
        ({"functions": [{"description": "no name"}]}, "functions[0]"),
        ({"functions": [{"name": "f", "parameters": [1]}]}, "functions[0].parameters"),
    ],
)
def test_what_cannot_be_shown_to_the_model_is_refused_and_named(wrong, param):
    assert refusal(**wrong).param == param
