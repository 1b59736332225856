"""Work with a host written once and done twice: by a sync and by an async client.

An exchange is a generator. It yields what is to be done, a call, a pause, a report of progress, and gets
the outcome sent in or thrown in. `run` and `arun` do it; they are all that differs between the two
colors, so no step can be in one and missing from the other.
"""

import inspect
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Protocol, TypedDict, TypeVar

T = TypeVar("T")

JOB_EVENT: Final = "langchain_finetune_job"
"""Name of the custom event that reports a job's progress; its data is a `JobProgress`."""


class JobProgress(TypedDict):
    """What the custom event `langchain_finetune_job` carries; what is not known is None."""

    job_id: str
    status: str
    step: int | None
    total_steps: int | None
    train_loss: float | None
    valid_loss: float | None
    checkpoint_step: int | None
    """Step of the last checkpoint that was made."""
    seconds_left: float | None
    waiting_for: str | None
    """What a job that has succeeded is still waited for: its model's name, or the model itself."""
    retry_in_seconds: float | None
    """Pause before the next look, when the last one failed for now; None when it was answered."""
    message: str | None
    reused: bool
    left: bool
    """Whether the waiting has ended before the job: an interrupt, the deadline, a host that refuses."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the host's client; `send` gets the client and returns the answer, or an awaitable of it."""

    send: Callable[[Any], Any]
    max_retries: int | None = None
    """Retries by the client itself; None is the client's own number."""
    timeout: float | None = None
    """Seconds for one request; None is the client's own number."""


class Sleep(NamedTuple):
    """A pause."""

    seconds: float


class Tell(NamedTuple):
    """A report of progress to whoever waits."""

    progress: JobProgress


Act = Call | Sleep | Tell

Exchange = Generator[Act, Any, T]


class Performer(Protocol):
    """Does one act and returns its outcome."""

    def __call__(self, act: Act) -> Any:
        """Do it now."""


def run(exchange: Exchange[T], perform: Performer) -> T:
    """Do an exchange to its end and return its result."""
    try:
        act = next(exchange)
        while True:
            try:
                outcome = perform(act)
            except Exception as e:  # noqa: BLE001  the exchange decides what a failure means
                act = exchange.throw(e)
            else:
                act = exchange.send(outcome)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        exchange.close()


async def arun(exchange: Exchange[T], perform: Callable[[Act], Awaitable[Any]]) -> T:
    """Do an exchange to its end and return its result; a cancellation ends it at the act under way."""
    try:
        act = next(exchange)
        while True:
            try:
                outcome = await perform(act)
            except Exception as e:  # noqa: BLE001  the exchange decides what a failure means
                act = exchange.throw(e)
            else:
                act = exchange.send(outcome)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        exchange.close()


def within(exchange: Exchange[T], seconds: float) -> Exchange[T]:
    """Do an exchange in which no call takes longer than so many seconds, or is repeated by the client."""
    try:
        act = next(exchange)
        while True:
            try:
                outcome = yield replace(act, max_retries=0, timeout=seconds) if isinstance(act, Call) else act
            except Exception as e:  # noqa: BLE001  the exchange decides what a failure means
                act = exchange.throw(e)
            else:
                act = exchange.send(outcome)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        exchange.close()


async def settle(outcome: Any) -> Any:
    """Await what can be awaited and return anything else as it is."""
    return await outcome if inspect.isawaitable(outcome) else outcome
