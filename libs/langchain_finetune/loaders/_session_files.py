"""Sessions in, a `ChatSessionFile` out, where no selection is tried on them: datasets and chats."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from langchain_finetune._spool import Spool, address_of
from langchain_finetune._stage import Event, Steps
from langchain_finetune.errors import SelectionError
from langchain_finetune.handles import ChatSessionFile, RecordedSession
from langchain_finetune.loaders._spooling import LOAD_EVENT
from langchain_finetune.runs import Reason, Rejection

_PAGE: Final = 1000

Settings = TypeVar("Settings", bound=BaseModel)


def spool_read(read: Iterable[RecordedSession | Rejection], source: str) -> Steps[ChatSessionFile]:
    """Write sessions and rejections into a spool; an event after every page.

    Raises:
        SelectionError: There is neither a session nor a rejection.
    """
    with Spool("sessions") as spool:
        kept, rejected = spool.writer("sessions.jsonl"), spool.writer("rejections.jsonl")
        reasons: Counter[str] = Counter()
        for number, item in enumerate(read, start=1):
            rejection = item if isinstance(item, Rejection) else None
            if isinstance(item, RecordedSession):
                try:
                    kept.write(item)
                except TypeError:
                    rejection = Rejection(item.run_id, Reason.NOT_JSON)
            if rejection is not None:
                reasons[rejection.reason.value] += 1
                rejected.write({"run_id": rejection.run_id, "reason": rejection.reason.value})
            if number % _PAGE == 0:
                yield _event(kept.num_rows, rejected.num_rows)
        if not kept.num_rows and not rejected.num_rows:
            msg = f"{source} holds no session: give one that does, or loosen what it is narrowed by."
            raise SelectionError(msg)
        directory = spool.publish(address_of({file.path.name: file.sha256 for file in (kept, rejected)}))
        yield _event(kept.num_rows, rejected.num_rows)
        return ChatSessionFile(
            path=directory / kept.path.name,
            sha256=kept.sha256,
            num_sessions=kept.num_rows,
            num_runs=kept.num_rows + rejected.num_rows,
            num_rejected=rejected.num_rows,
            rejections=directory / rejected.path.name,
            rejected_by_reason=dict(reasons.most_common()),
            source=source,
        )


def _event(num_sessions: int, num_rejected: int) -> Event:
    num_runs = num_sessions + num_rejected
    counts = {"num_runs": num_runs, "num_sessions": num_sessions, "num_rejected": num_rejected}
    return Event(LOAD_EVENT, {**counts, "num_unselected": 0})


def overridden(kind: type[Settings], settings: BaseModel, given: Any) -> Settings:
    """Return the settings of a loader, overridden by its input field by field.

    Raises:
        SelectionError: The input has a field or a value that there is not.
    """
    values = {name: getattr(settings, name) for name in kind.model_fields}
    if isinstance(given, dict):
        values |= given
    elif given is not None:
        msg = f"the input is a dict of {', '.join(kind.model_fields)}, got {type(given).__name__}."
        raise SelectionError(msg)
    try:
        return kind.model_validate(values)
    except ValidationError as e:
        problems = "; ".join(f"{'.'.join(map(str, it['loc']))}: {it['msg']}" for it in e.errors())
        msg = f"this input cannot be used ({problems}). Its fields are {', '.join(kind.model_fields)}."
        raise SelectionError(msg) from e
