"""The form that an answer was asked for, as OpenAI's chat completions say it."""

from collections.abc import Mapping
from typing import Any, Final

Fields = Mapping[str, Any]

_PLACES: Final = frozenset({"response_format", "text", "text_format", "output_format", "output_config"})


def response_format_of(request: Fields, *, options: Fields | None = None) -> dict[str, Any] | None:
    """Return the response format of a request; None where it is text, or lost.

    Args:
        request: The request: `response_format`, the Responses API's `text` or `text_format`, or Anthropic's
            `output_format` or `output_config`.
        options: LangChain's options of the call: the tracer writes a class down as its name, and its schema
            in `ls_structured_output_format`.
    """
    if _PLACES.isdisjoint(request):  # as in most
        return None
    given = request.get("response_format")
    if isinstance(given, dict):
        return _chat_form(given)
    if isinstance(text := request.get("text"), dict) and isinstance(inner := text.get("format"), dict):
        return _chat_form(inner)
    if isinstance(schema := request.get("text_format"), dict):
        return _of_schema(schema)
    for key in ("output_format", "output_config"):
        value = request.get(key)
        inner = value.get("format", value) if isinstance(value, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("schema"), dict):
            return _of_schema(inner["schema"])
    return _of_options(options or {}) if given else None


def _chat_form(given: dict[str, Any]) -> dict[str, Any] | None:
    kind = given.get("type")
    if kind == "text":
        return None
    schema = given.get("schema", given.get("schema_"))  # `schema_` is the client's name of the field
    if kind != "json_schema" or "json_schema" in given or not isinstance(schema, dict):
        return given or None
    fields = {key: given[key] for key in ("name", "description") if given.get(key) is not None}
    strict = {"strict": given["strict"]} if given.get("strict") is not None else {}
    return {"type": "json_schema", "json_schema": {**fields, "schema": schema, **strict}}


def _of_options(options: Fields) -> dict[str, Any] | None:
    recorded = options.get("ls_structured_output_format")
    if not isinstance(recorded, dict):
        return None
    schema, settings = recorded.get("schema"), recorded.get("kwargs")
    settings = settings if isinstance(settings, dict) else {}
    if settings.get("method") not in (None, "json_schema") or not isinstance(schema, dict):
        return None
    function = schema.get("function")
    if isinstance(function, dict) and isinstance(function.get("parameters"), dict):
        described = {"description": function["description"]} if function.get("description") else {}
        schema = {"title": function.get("name"), **described, **function["parameters"]}
    return _of_schema(schema, strict=settings.get("strict"))


def _of_schema(schema: dict[str, Any], strict: Any = None) -> dict[str, Any]:
    name = schema.get("title")
    return {
        "type": "json_schema",
        "json_schema": {
            "name": name if isinstance(name, str) else "response",
            "schema": schema,
            **({"strict": strict} if isinstance(strict, bool) else {}),
        },
    }
