"""Why a model stopped, under the names of every provider that the dialects carry."""

from typing import Any, Final

from langchain_finetune.runs.rejections import Reason, Unreadable

_REASONS: Final = {
    "length": Reason.TRUNCATED,
    "max_tokens": Reason.TRUNCATED,
    "max_output_tokens": Reason.TRUNCATED,
    "model_context_window_exceeded": Reason.TRUNCATED,
    "model_length": Reason.TRUNCATED,
    "pause_turn": Reason.TRUNCATED,
    "incomplete": Reason.TRUNCATED,
    "content_filter": Reason.CONTENT_FILTER,
    "content_filtered": Reason.CONTENT_FILTER,
    "refusal": Reason.CONTENT_FILTER,  # Anthropic's classifiers stop the stream
    "safety": Reason.CONTENT_FILTER,
    "recitation": Reason.CONTENT_FILTER,
    "guardrail_intervened": Reason.CONTENT_FILTER,
    "failed": Reason.ERRORED,
    "cancelled": Reason.ERRORED,
    "error": Reason.ERRORED,
    "malformed_function_call": Reason.INVALID_TOOL_ARGUMENTS,
    "queued": Reason.PENDING,
    "in_progress": Reason.PENDING,
}

_FINE: Final = frozenset({"stop", "tool_calls", "function_call", "end_turn", "tool_use", "STOP"})


def refuse_cut_off(*reasons: Any) -> None:
    """Refuse an answer that did not come to its own end.

    Raises:
        Unreadable: One of the finish reasons says so.
    """
    for reason in reasons:
        if reason is None or (type(reason) is str and reason in _FINE):
            continue
        # The JavaScript client records the whole last chunk of a stream as the reason.
        name = reason.get("finish_reason") if isinstance(reason, dict) else reason
        # Merged chunks of a stream repeat the word: "lengthlength".
        if isinstance(name, str) and (found := _reason_of(name.lower())):
            raise Unreadable(found)


def _reason_of(name: str) -> Reason | None:
    if found := _REASONS.get(name):
        return found
    if name.startswith(("length", "max_tokens")):
        return Reason.TRUNCATED
    return Reason.CONTENT_FILTER if name.startswith("content_filter") else None


def refuse_unfinished(response: Any) -> None:
    """Refuse an object of the Responses API that says that it is not complete.

    Raises:
        Unreadable: It was cut off, filtered, failed, or goes on.
    """
    if not isinstance(response, dict):
        return
    details = response.get("incomplete_details")
    refuse_cut_off(details.get("reason") if isinstance(details, dict) else None, response.get("status"))
