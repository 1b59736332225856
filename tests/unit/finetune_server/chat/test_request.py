"""Every parameter of OpenAI's is honored or refused with a reason; none is ignored."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from finetune_server.chat.request import ChatRequest, check_parameters
from finetune_server.errors import ApiError

SCHEMAS = json.loads((Path(__file__).parents[3] / "data" / "openai_schemas.json").read_bytes())["$defs"]
TOOL = {"type": "function", "function": {"name": "f"}}


def request(**more) -> ChatRequest:
    return ChatRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | more)


def refusal(**more) -> ApiError:
    with pytest.raises(ApiError) as refused:
        check_parameters(request(**more))
    assert refused.value.status == 400
    return refused.value


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("audio", {"voice": "ash", "format": "mp3"}, "text only"),
        ("modalities", ["text", "audio"], "text only"),
        ("web_search_options", {}, "does not search the web"),
        ("prediction", {"type": "content", "content": "a"}, "predicted"),
        ("reasoning_effort", "low", "do not reason"),
        ("verbosity", "low", "no setting for it"),
        ("service_tier", "flex", "one tier"),
        ("store", True, "keeps no completions"),
        ("moderation", {"model": "m"}, "does not moderate"),
    ],
)
def test_what_is_not_done_is_refused_with_the_reason(name, value, reason):
    refused = refusal(**{name: value})
    assert refused.param == name
    assert refused.code == "unsupported_parameter"
    assert reason in refused.message


@pytest.mark.parametrize(
    "harmless",
    [
        {"service_tier": "auto"},
        {"store": False},
        {"modalities": ["text"]},
        {"verbosity": "medium"},
        {"reasoning_effort": "none"},
        {"user": "u", "metadata": {"a": "b"}, "safety_identifier": "s", "prompt_cache_key": "p"},
        {"tools": [], "tool_choice": "none", "audio": None, "stream_options": None},
    ],
)
def test_what_changes_nothing_is_taken(harmless):
    check_parameters(request(**harmless))


@pytest.mark.parametrize(
    ("contradiction", "param"),
    [
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
        ({"functions": [{"name": "f"}], "tools": [TOOL]}, "functions"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"function_call": "auto"}, "function_call"),
    ],
)
def test_what_contradicts_itself_is_refused(contradiction, param):
    assert refusal(**contradiction).param == param


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 2.1},
        {"top_p": -0.1},
        {"n": 0},
        {"n": 129},
        {"stop": ["a"] * 5},
        {"top_logprobs": 21, "logprobs": True},
        {"logit_bias": {"a": 1}},
        {"logit_bias": {"1": 101}},
        {"messages": []},
        {"max_tokens": 0},
        {"response_format": {"type": "yaml"}},
        {"no_such_parameter": 1},
        {"model": "\ud800"},
        {"stop": ["a", "\udfff"]},
        {"messages": [{"role": "user", "content": "\ud83d"}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": float("nan")}}}]},
        {"metadata": {"a": [float("inf")]}},
    ],
)
def test_what_openai_would_not_take_is_not_taken(wrong):
    with pytest.raises(ValidationError):
        request(**wrong)


def properties(schema: dict) -> set[str]:
    if "$ref" in schema:
        return properties(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    return set(schema.get("properties", ())).union(*map(properties, schema.get("allOf", ())))


def test_every_published_parameter_is_known():
    published = properties(SCHEMAS["CreateChatCompletionRequest"])
    assert len(published) > 30
    assert published - set(ChatRequest.model_fields) == set()
