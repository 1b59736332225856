"""Which tools a request offers and whether they must be called, whatever dialect it says so in. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetune_server.chat.request import ChatRequest
from finetune_server.errors import ApiError
from finetune_server.rendering.grammar import Calls

_Tools = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """The tools of a request.

    Args:
        offered: What the model is shown.
        callable_now: What it may call.
        calls: Whether it may or must.
        is_legacy: Whether the request says `functions`, and its answer must say `function_call`.
        is_single_call: At most one call may be answered.
    """

    offered: tuple[Mapping[str, Any], ...]
    callable_now: tuple[Mapping[str, Any], ...]
    calls: Calls
    is_legacy: bool
    is_single_call: bool


def tool_use(request: ChatRequest) -> ToolUse:
    """Read `tools`, `tool_choice` and `parallel_tool_calls`, or `functions` and `function_call`.

    With "none" the model is not shown the tools: it is to answer in words, and a model that was trained to
    call would write calls nonetheless.

    Raises:
        ApiError: A choice names no tool, or is of a kind that this server does not know.
    """
    is_legacy = bool(request.functions)
    tools = [{"type": "function", "function": function} for function in request.functions or []]
    tools = tools or list(request.tools or [])
    param = "function_call" if is_legacy else "tool_choice"
    choice = request.function_call if is_legacy else request.tool_choice
    if not tools or choice == "none":
        return ToolUse(offered=(), callable_now=(), calls="none", is_legacy=is_legacy, is_single_call=False)
    shown, callable_now, calls = _choice(choice, tools, param)
    is_named = len(callable_now) == 1 and isinstance(choice, dict) and calls == "required"
    return ToolUse(
        offered=tuple(shown),
        callable_now=tuple(callable_now),
        calls=calls,
        is_legacy=is_legacy,
        is_single_call=is_legacy or is_named or request.parallel_tool_calls is False,
    )


def _choice(choice: Any, tools: _Tools, param: str) -> tuple[_Tools, _Tools, Calls]:
    """Return what the model is shown, what it may call, and whether it must."""
    match choice:
        case None | "auto":
            return tools, tools, "allowed"
        case "required" if param == "tool_choice":
            return tools, tools, "required"
        case {"type": "function", "function": {"name": str(name)}} if param == "tool_choice":
            return tools, [_named(name, tools, param)], "required"
        case {"name": str(name)} if param == "function_call":
            return tools, [_named(name, tools, param)], "required"
        case {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto" | "required" as mode, "tools": [*some]},
        }:
            allowed = [_named(_name(tool), tools, param) for tool in some]
            return allowed, allowed, "required" if mode == "required" else "allowed"
    choices = "'none', 'auto' or {'name': ...}"
    if param == "tool_choice":
        choices = "'none', 'auto', 'required', a named function or allowed tools"
    message = f"Invalid value for '{param}': it must be {choices}."
    raise ApiError(400, message, param=param, code="invalid_value")


def _named(name: str | None, tools: _Tools, param: str) -> dict[str, Any]:
    for tool in tools:
        if name is not None and _name(tool) == name:
            return tool
    message = f"Invalid value for '{param}': the request has no function named '{name}'."
    raise ApiError(400, message, param=param, code="invalid_value")


def _name(tool: Any) -> str | None:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None
