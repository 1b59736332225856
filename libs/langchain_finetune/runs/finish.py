"""Why a model stopped, under the names of every provider that the dialects carry."""

from typing import Any, Final

from langchain_finetune.runs.rejections import Reason, Unreadable

_TRUNCATED: Final = ("length", "max_tokens", "MAX_TOKENS")
_FILTERED: Final = ("content_filter", "SAFETY")


def refuse_cut_off(*reasons: Any) -> None:
    """Refuse an answer that did not come to its own end.

    Raises:
        Unreadable: One of the finish reasons says so.
    """
    for reason in reasons:
        # The JavaScript client records the whole last chunk of a stream as the reason.
        name = reason.get("finish_reason") if isinstance(reason, dict) else reason
        if not isinstance(name, str):
            continue
        if name.startswith(_TRUNCATED):
            raise Unreadable(Reason.TRUNCATED)
        if name.startswith(_FILTERED):
            raise Unreadable(Reason.CONTENT_FILTER)
