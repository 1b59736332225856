"""The lists of OpenAI's protocol, page by page, and the objects in them as plain data."""

from collections.abc import Collection
from typing import Any, Final

import openai

from langchain_finetune.errors import HostError, HostUnavailableError
from langchain_finetune.trainers.exchange import Call, Exchange, Sleep
from langchain_finetune.trainers.hosts.refusals import is_transient
from langchain_finetune.trainers.jobs.job_state import event_id

_PAGE_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try for a page."""

_LONGEST_PAGE_PAUSE: Final = 60.0


def listed(first: Call, seen: Collection[str] = ()) -> Exchange[list[dict[str, Any]]]:
    """Return what the pages of a list hold that is not in `seen`, each item once, as the host orders it.

    The page that holds an item of `seen` is the last that is read. So is a page that brings nothing new: a
    host that does not understand the cursor sends the same one for ever.
    """
    found: dict[str, dict[str, Any]] = {}
    page = yield first
    while True:
        items = [item for entry in entries(page) if (item := plain(entry))]
        fresh = {event_id(item): item for item in items if event_id(item) not in {*seen, *found}}
        is_known_reached = any(event_id(item) in seen for item in items)
        found.update(fresh)
        if not fresh or is_known_reached or not page.has_next_page():
            return list(found.values())
        page = yield from _patiently(next_page(page))


def _patiently(call: Call) -> Exchange[Any]:
    """Ask for a further page, a few times: a long list would never be read to its end in a poor network."""
    for pause in _PAGE_PAUSES:
        try:
            return (yield call)
        except HostError as e:
            if not is_transient(e):
                raise
            asked = e.retry_after_seconds
        yield Sleep(pause if asked is None else min(asked, _LONGEST_PAGE_PAUSE))
    return (yield call)


def entries(page: Any) -> list[Any]:
    """Return what a page holds.

    Raises:
        HostUnavailableError: It is no list.
    """
    if isinstance(page.data, list):
        return page.data
    if "data" in page.model_fields_set and page.data is None:
        # How a host written in Go lists nothing.
        return []
    msg = "the host answered with a list that has no data: check the base URL."
    raise HostUnavailableError(msg, status_code=502)


def next_page(page: Any) -> Call:
    """Return the call for the page after this one."""
    return Call(lambda _: page.get_next_page())


def plain(item: Any) -> dict[str, Any]:
    """Return an object of the client as the host sent it, empty where it is none."""
    # States and shapes that the client's types do not know are no reason to warn.
    return item.to_dict(warnings=False) if isinstance(item, openai.BaseModel) else {}
