"""Where in a run's inputs the request lies, and its messages."""

from collections.abc import Mapping
from typing import Any, Final

from langchain_finetune.runs.conversation import is_pair, read_conversation
from langchain_finetune.runs.rejections import Reason, Unreadable
from langchain_finetune.runs.role_messages import Message

_NESTING: Final = 3
_ENVELOPES: Final = (
    "messages",
    "input",
    "inputs",
    "kwargs",
    "request",
    "body",
    "payload",
    "params",
    "llm_input",
)
_SETTINGS: Final = frozenset(
    {
        *("model", "model_name", "model_id", "deployment", "provider", "engine", "endpoint", "base_url"),
        *("stop", "tool_choice", "response_format", "reasoning_effort", "verbosity", "service_tier", "user"),
        *(
            "user_id",
            "session_id",
            "thread_id",
            "run_id",
            "conversation_id",
            "request_id",
            "name",
            "run_name",
        ),
    }
)
"""Arguments that are texts and no part of a prompt."""

_SYSTEMS: Final = ("system", "instructions", "system_prompt", "system_message", "system_instruction")


def request_of(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object that holds the messages: the inputs, or an argument that is a whole request."""
    for _ in range(_NESTING):
        if isinstance(inputs.get("messages"), list):
            break
        inner = next((value for key in _ENVELOPES if isinstance(value := inputs.get(key), dict)), None)
        if inner is None or _is_message(inner):
            break
        inputs = inner
    return inputs


def read_prompt(request: Mapping[str, Any]) -> list[Message]:
    """Read the messages of a request, whatever its argument is called.

    Raises:
        Unreadable: It has none, they cannot be read, or there are texts of which nobody knows the place.
    """
    elements = _named_list(request)
    if elements is None:
        history = _only_list(request)
        messages = [*read_conversation(history), *_texts(request, 0)] if history else _texts(request, 1)
    else:
        messages = read_conversation(elements)
    system = next((value for key in _SYSTEMS if (value := request.get(key))), None)
    return [*_system(system), *messages] if system else messages


def _named_list(request: Mapping[str, Any]) -> list[Any] | None:
    for key in ("messages", "input"):
        value = request.get(key)
        if isinstance(value, list):
            return unnested(value)
        if isinstance(value, dict) and _is_message(value):
            return [value]
    if "messages" in request:
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    return None


def _only_list(request: Mapping[str, Any]) -> list[Any] | None:
    """Return the list of messages under a name of the application's own; None where there is none."""
    lists = [
        unnested(value)
        for key, value in request.items()
        if isinstance(value, list) and value and key not in _SYSTEMS and _are_messages(unnested(value))
    ]
    if len(lists) > 1:
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    return lists[0] if lists else None


def unnested(messages: list[Any]) -> list[Any]:
    """Return the messages of a list in a list, as tracers of LangChain record a prompt.

    Raises:
        Unreadable: There are none.
    """
    if len(messages) == 1 and isinstance(messages[0], list) and not is_pair(messages[0]):
        messages = messages[0]
    if not messages:
        raise Unreadable(Reason.HIDDEN_INPUTS)
    return messages


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "content" in value and ("role" in value or "type" in value)


def _are_messages(values: list[Any]) -> bool:
    return all(
        _is_message(value) or is_pair(value) or (isinstance(value, dict) and "lc" in value)
        for value in values
    )


def _texts(request: Mapping[str, Any], at_least: int) -> list[Message]:
    """Read a prompt that is a text: under a name that says so, or the only text there is.

    Of several texts nobody knows how the application put them together: what the model saw is not recorded.
    """
    if "prompts" in request:
        raise Unreadable(Reason.NOT_CHAT_MODEL)
    texts = {
        key: value
        for key, value in request.items()
        if isinstance(value, str) and key not in _SETTINGS and key not in _SYSTEMS
    }
    if len(texts) > 1 or len(texts) < at_least:
        raise Unreadable(Reason.UNKNOWN_SHAPE)
    if not all(texts.values()):
        raise Unreadable(Reason.HIDDEN_INPUTS)
    return [{"role": "user", "content": text} for text in texts.values()]


def _system(value: Any) -> list[Message]:
    if isinstance(value, list) and any(isinstance(item, dict) and "role" in item for item in value):
        return read_conversation(value)
    return read_conversation([{"role": "system", "content": value}])
