"""The body of `POST /v1/chat/completions`: every parameter of OpenAI's, honored or refused with a reason.

Taken without an effect on the answer: `user`, `safety_identifier`, `metadata` and the `prompt_cache_...`
parameters, which are for OpenAI's own bookkeeping, and values that ask for what happens anyway, such as
`store` false or the ordinary `service_tier`.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from finetune_server.errors import ApiError

_TEXT_ONLY = "this server's models read and write text only"
_REFUSED = {
    "audio": _TEXT_ONLY,
    "web_search_options": "this server does not search the web",
    "moderation": "this server does not moderate",
    "prediction": "this server does not speed up answers by predicted ones",
    "reasoning_effort": "this server's models do not reason apart from their answer",
}
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "modalities": (["text"],),
    "reasoning_effort": ("none",),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "verbosity": ("medium",),
}
_REASONS = _REFUSED | {
    "modalities": _TEXT_ONLY,
    "service_tier": "this server has one tier, `default`",
    "store": "this server keeps no completions",
    "verbosity": "this server's models have no setting for it but `medium`",
}


class _Body(BaseModel):
    """A body without what JSON cannot hold, which Python reads from it all the same.

    Half a surrogate pair is no text for an engine, and NaN and infinities are no numbers for a schema.
    """

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _check_json(cls, value: Any) -> Any:
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:
            msg = "it has a text with half a surrogate pair, which is no character"
            raise ValueError(msg) from None
        except ValueError:
            msg = "it has a number that JSON does not have"
            raise ValueError(msg) from None
        except RecursionError:
            msg = "it is nested too deeply"
            raise ValueError(msg) from None
        return value


class StreamOptions(BaseModel):
    """How to stream."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchema(BaseModel):
    """The schema that an answer must keep to."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: str
    description: str | None = None
    schema_: dict[str, JsonValue] | None = Field(None, alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """The form that an answer must have."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(_Body):
    """The body of a request."""

    model: str
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[dict[str, Any]] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[int, Annotated[float, Field(ge=-100, le=100)]] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: JsonValue = None
    metadata: dict[str, str] | None = None

    store: JsonValue = None
    service_tier: JsonValue = None
    modalities: JsonValue = None
    verbosity: JsonValue = None
    reasoning_effort: JsonValue = None
    audio: JsonValue = None
    web_search_options: JsonValue = None
    moderation: JsonValue = None
    prediction: JsonValue = None


class TokenizeRequest(_Body):
    """The body of `POST /tokenize`: a conversation, or a text."""

    model: str
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)] | None = None
    tools: list[dict[str, Any]] | None = None
    functions: list[dict[str, Any]] | None = None
    add_generation_prompt: bool = True
    prompt: str | None = None


def check_parameters(request: ChatRequest) -> None:
    """Refuse what this server does not do, and what contradicts itself.

    Raises:
        ApiError: It names the parameter and the reason.
    """
    for name, reason in _REASONS.items():
        value = getattr(request, name)
        if value is not None and value not in _HARMLESS.get(name, ()):
            message = f"Unsupported parameter: '{name}' is not supported with this value: {reason}."
            raise ApiError(400, message, param=name, code="unsupported_parameter")
    for name, other, is_wrong in (
        ("max_tokens", "max_completion_tokens", request.max_tokens and request.max_completion_tokens),
        ("functions", "tools", request.functions and request.tools),
    ):
        if is_wrong:
            message = f"Setting '{name}' and '{other}' at the same time is not supported: leave out '{name}'."
            raise ApiError(400, message, param=name, code="invalid_parameter_combination")
    for name, needed, is_missing in (
        ("top_logprobs", "'logprobs' true", request.top_logprobs is not None and not request.logprobs),
        ("stream_options", "'stream' true", request.stream_options is not None and not request.stream),
        ("function_call", "'functions'", request.function_call is not None and not request.functions),
        ("tool_choice", "'tools'", request.tool_choice not in (None, "none") and not request.tools),
    ):
        if is_missing:
            message = f"Invalid '{name}': it needs {needed}."
            raise ApiError(400, message, param=name, code="invalid_parameter_combination")
