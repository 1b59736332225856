"""Where orders are placed and looked at: the work goes on when whoever asked for it is gone."""

import asyncio
import logging
import time
import traceback
import uuid
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from langchain_openai import ChatOpenAI

from langchain_finetune._served import refuse_settings, refuse_untrusted, served_metadata
from langchain_finetune._stage import Stage
from langchain_finetune.errors import (
    DeploymentNeeded,
    FineTuneError,
    HostError,
    JobCancelled,
    JobError,
    JobNotFoundError,
    RateLimitedError,
    ServedInputError,
    TrainingFailed,
)
from langchain_finetune.handles import FineTunedModel, SubmittedJob
from langchain_finetune.serving import orders
from langchain_finetune.serving.events import ENDED, JobWatch, SeenEvent, events_after, server_sent
from langchain_finetune.serving.limits import Limits
from langchain_finetune.serving.orders import Order, OrderBook
from langchain_finetune.serving.pipeline import ServedPipe
from langchain_finetune.serving.told import secrets_of, told_of
from langchain_finetune.trainers.job import FineTuneJob
from langchain_finetune.trainers.served import aserved, is_tuned

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

logger = logging.getLogger(__name__)

_SUCCEEDED: Final = "succeeded"
_FINISHING: Final = "finishing"
"""The job has succeeded, and the steps after it are under way."""

_MOST_JOBS: Final = 256
_KEEP_ALIVE: Final = b": still here\n\n"

Sleep = Callable[[float], Awaitable[None]]


class _Tuned(NamedTuple):
    """A chat model, and what JSON can hold of it."""

    chat_model: ChatOpenAI
    model: FineTunedModel


class OrderDesk:
    """Places the orders of one route, and answers for them.

    Args:
        route: The route's name: another one does not answer for its orders.
        pipe: The pipe that is served.
        projects: Projects and datasets that a request may name besides the loader's own.
        configurable: Fields that a request may set.
        limits: The bounds.
        book: Where orders are kept.
        clock: Tells the time, in seconds since whenever.
        sleep: Waits, in seconds.
    """

    def __init__(  # noqa: PLR0913 - what a request may do, each with a name of its own
        self,
        route: str,
        pipe: ServedPipe,
        *,
        projects: Iterable[str] = (),
        configurable: Iterable[str] = (),
        limits: Limits,
        book: OrderBook | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.pipe = pipe
        self.limits = limits
        self._route = route
        self._projects = frozenset(projects)
        self.configurable = frozenset(configurable)
        self._given_book = book
        self._clock = clock
        self._sleep = sleep
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._uncancellable: set[str] = set()
        self._cancelling: set[str] = set()
        self._following: dict[str, asyncio.Task[None]] = {}
        self._watches: OrderedDict[str, JobWatch] = OrderedDict()
        self._tuned: OrderedDict[str, _Tuned] = OrderedDict()
        self._num_streams = 0

    async def place(self, given: Any, config: Mapping[str, Any] | None = None) -> SubmittedJob:
        """Start what an input asks for, wait a moment for the job, and return what there is by then.

        Args:
            given: The request's input, or the `SubmittedJob` of an earlier one, which starts nothing.
            config: The request's config; its `configurable` is all that is taken of it.

        Raises:
            ServedInputError: It names what only the server may choose.
            RateLimitedError: Too many orders are being prepared.
            FineTuneError: There is no job for this input, and that was soon clear.
        """
        if order_id := _order_id_in(given):
            return await self.look(order_id)
        settings = self._checked(given, config)
        self._require_room(1)
        return await self._place(given, settings, is_raising=True)

    async def place_all(
        self, inputs: Sequence[Any], configs: Sequence[Mapping[str, Any]]
    ) -> list[SubmittedJob]:
        """Start what several inputs ask for, all of them or none; those that fail are told as failed.

        Raises:
            ServedInputError: One names what only the server may choose.
            RateLimitedError: Too many orders are being prepared.
        """
        if any(map(_order_id_in, inputs)):
            msg = "a batch is of new inputs: ask `/jobs/{id}` what has become of an order."
            raise ServedInputError(msg)
        settings = [self._checked(*pair) for pair in zip(inputs, configs, strict=True)]
        self._require_room(len(inputs))
        pairs = zip(inputs, settings, strict=True)
        return await asyncio.gather(*(self._place(*pair, is_raising=False) for pair in pairs))

    def _checked(self, given: Any, config: Mapping[str, Any] | None) -> dict[str, Any]:
        settings = dict((config or {}).get("configurable") or {})
        refuse_settings(settings, self.configurable)
        if isinstance(self.pipe.first, Stage):
            refuse_untrusted(self.pipe.first, given, self._projects)
        return settings

    def _require_room(self, num_orders: int) -> None:
        if len(self._preparing) + num_orders > self.limits.max_preparing:
            msg = "as many orders are being prepared as the server takes at once: come back later."
            raise RateLimitedError(msg, retry_after_seconds=self.limits.look_seconds)

    async def _place(self, given: Any, settings: Mapping[str, Any], *, is_raising: bool) -> SubmittedJob:
        order = await asyncio.to_thread(self._book.add, self._route)
        preparing = asyncio.create_task(self._prepare(order, given, settings))
        self._preparing[order.id] = preparing
        preparing.add_done_callback(lambda task: self._prepared(order.id, task))
        # The task is its own: a client that goes away ends this wait and nothing else.
        await asyncio.wait({preparing}, timeout=self.limits.answer_seconds)
        if is_raising and preparing.done() and not preparing.cancelled():
            preparing.result()
        return await self.look(order.id)

    async def look(self, order_id: str) -> SubmittedJob:
        """Return what has become of an order.

        Raises:
            JobNotFoundError: There is no such order.
            HostError: The host of the job refused, or cannot be reached.
        """
        order = await self._order(order_id)
        if order.status == orders.PREPARING and not orders.is_alive(order.owner):
            order = await self._interrupted(order)
        if order.job_id is None or order.status not in (orders.PLACED, orders.FINISHED):
            return self._answer(order, order.status)
        watch = await self._watch(order.job_id)
        status = (await watch.look()).status
        if self.pipe.tail is not None and order.status == orders.PLACED:
            await self._follow_again(order)
            status = _FINISHING if status == _SUCCEEDED else status
        return await self._answer_of_job(order, watch.job, status)

    async def cancel(self, order_id: str) -> SubmittedJob:
        """End an order, and its job where this order made it.

        Raises:
            JobNotFoundError: There is no such order.
            JobError: The job was there before the order, or another process is preparing it.
            HostError: The host of the job refused, or cannot be reached.
        """
        order = await self._order(order_id)
        if order.status == orders.PREPARING:
            await self._cancel_preparing(order)
        elif order.status == orders.PLACED and order.job_id is not None:
            if order.is_reused:
                msg = (
                    f"the job of {order.id} was there before it, and is somebody else's too: "
                    "it is cancelled by whoever ordered it first."
                )
                raise JobError(msg, order.job_id)
            watch = await self._watch(order.job_id)
            await watch.job.acancel()
            await watch.look(is_new=True)
        return await self.look(order_id)

    async def tuned(self, order_id: str) -> ChatOpenAI:
        """Return the chat model of an order whose job has succeeded.

        Raises:
            JobNotFoundError: There is no such order.
            JobError: The job has not come to that end.
        """
        found = await self.look(order_id)
        if found.job_id is None or found.model is None:
            msg = f"{order_id} is {found.status}: its model can be asked when the job has succeeded."
            raise JobError(msg, order_id)
        return self._tuned[found.job_id].chat_model

    async def events(
        self,
        order_id: str,
        last_event_id: str | None = None,
        tell: Callable[[SubmittedJob], SubmittedJob] = lambda found: found,
    ) -> AsyncGenerator[bytes]:
        """Give the events of an order as server-sent events, until it has come to its end.

        Args:
            order_id: The order.
            last_event_id: The last event that the client had, where it comes back.
            tell: Returns what the client is told at the end.

        Raises:
            JobNotFoundError: There is no such order; before anything is given.
            RateLimitedError: Too many streams are open.
        """
        await self._order(order_id)
        if self._num_streams >= self.limits.max_streams:
            msg = "as many streams are open as the server has: ask for the job itself from time to time."
            raise RateLimitedError(msg, retry_after_seconds=self.limits.look_seconds)
        return self._stream(order_id, last_event_id, tell)

    async def _stream(
        self, order_id: str, last_event_id: str | None, tell: Callable[[SubmittedJob], SubmittedJob]
    ) -> AsyncGenerator[bytes]:
        self._num_streams += 1
        try:
            status, told_at = "", self._clock()
            yield b"retry: 2000\n\n"
            while True:
                found = await self._look_again(order_id)
                parts = []
                if found is not None:
                    for event in await self._new_events(found, last_event_id):
                        last_event_id = event.id
                        parts.append(server_sent("job_event", event.data, event.id))
                    if found.status != status:
                        status = found.status
                        parts.append(server_sent("status", {"status": status}))
                if not parts and self._clock() - told_at >= self.limits.heartbeat_seconds:
                    parts.append(_KEEP_ALIVE)
                for part in parts:
                    told_at = self._clock()
                    yield part
                if found is not None and _is_over(found):
                    yield server_sent("end", tell(found))
                    return
                # A job is near where runs are still read; a training takes its time.
                pause = self.limits.answer_seconds if status == orders.PREPARING else self.limits.look_seconds
                await self._sleep(pause)
        finally:
            self._num_streams -= 1

    async def _look_again(self, order_id: str) -> SubmittedJob | None:
        try:
            return await self.look(order_id)
        except HostError as e:
            # The host is away for a moment: the stream is not, and the next look may see more.
            logger.info("no look at %s: %s", order_id, e)
            return None

    async def _new_events(self, found: SubmittedJob, last_event_id: str | None) -> list[SeenEvent]:
        if found.job_id is None or found.job_id not in self._watches:
            return []
        return events_after((await self._watches[found.job_id].look()).events, last_event_id)

    @property
    def _book(self) -> OrderBook:
        # Made at the first order: an application that is only imported touches no disk.
        if self._given_book is None:
            self._given_book = OrderBook()
        return self._given_book

    async def _order(self, order_id: str) -> Order:
        order = await asyncio.to_thread(self._book.find, order_id, self._route)
        if order is None:
            msg = "there is no such order here: ask for the id that `/invoke` answered with."
            raise JobNotFoundError(msg)
        return order

    async def _change(self, order: Order, **fields: Any) -> Order:
        return await asyncio.to_thread(lambda: self._book.change(order, **fields))

    async def _prepare(self, order: Order, given: Any, settings: Mapping[str, Any]) -> None:
        try:
            config: RunnableConfig = {
                "run_name": self._route,
                "run_id": uuid.uuid4(),
                # Each stage of the pipe looks at its own input: the first step may be the application's.
                "metadata": served_metadata(self._projects),
            }
            if settings:
                config["configurable"] = dict(settings)
            data = await self.pipe.head.ainvoke(given, config) if self.pipe.head else given
            refuse_untrusted(self.pipe.trainer, data)
            # From here on there may be a job, which a cancellation in between would leave behind.
            self._uncancellable.add(order.id)
            job = await self.pipe.trainer.asubmit(data)
            self._keep(job)
            order = await self._change(
                order, status=orders.PLACED, job_id=job.id, is_reused=int(job.is_reused)
            )
            if order.id in self._cancelling and not job.is_reused:
                await job.acancel()
            if self.pipe.tail is not None:
                self._follow(order)
        except asyncio.CancelledError:
            # A server that stops cancels its tasks too: such an order is told as interrupted by the next one.
            if order.id in self._cancelling:
                await self._change(order, status=orders.CANCELLED)
            raise
        except Exception as e:
            await self._fail(order, e)
            raise

    def _prepared(self, order_id: str, task: asyncio.Task[None]) -> None:
        del self._preparing[order_id]
        self._uncancellable.discard(order_id)
        self._cancelling.discard(order_id)
        if not task.cancelled():
            task.exception()  # marks it as seen: the order says what went wrong

    async def _fail(self, order: Order, error: Exception) -> None:
        told = told_of(error, secrets_of(self.pipe.trainer))
        if isinstance(error, FineTuneError):
            logger.error("%s failed: %s", order.id, error)
        else:
            # An error that nobody expected may quote a prompt.
            place = traceback.extract_tb(error.__traceback__)[-1]
            logger.error("%s failed: %s at %s:%s", order.id, told.code, place.filename, place.lineno)
        await self._change(order, status=orders.FAILED, error_code=told.code, error=told.message)

    async def _interrupted(self, order: Order) -> Order:
        taken = await asyncio.to_thread(self._book.take_over, order)
        if taken is None:
            return await self._order(order.id)
        msg = "the server ended before there was a job: send the same input again, no job is made twice."
        return await self._change(taken, status=orders.INTERRUPTED, error_code="Interrupted", error=msg)

    async def _cancel_preparing(self, order: Order) -> None:
        task = self._preparing.get(order.id)
        if task is None:
            if orders.is_alive(order.owner) and order.owner != orders.this_process():
                msg = f"{order.id} is being prepared by another process: cancel it when it has a job."
                raise JobError(msg, order.id)
            return
        self._cancelling.add(order.id)
        if order.id not in self._uncancellable:
            task.cancel()
        await asyncio.wait({task})

    def _follow(self, order: Order) -> None:
        if order.id not in self._following:
            task = asyncio.create_task(self._finish(order))
            self._following[order.id] = task
            task.add_done_callback(lambda _: self._following.pop(order.id, None))

    async def _follow_again(self, order: Order) -> None:
        """Go on with the steps after the training where the process has died that was to do them."""
        if order.owner == orders.this_process():
            self._follow(order)
        elif not orders.is_alive(order.owner) and (
            taken := await asyncio.to_thread(self._book.take_over, order)
        ):
            self._follow(taken)

    async def _finish(self, order: Order) -> None:
        try:
            watch = await self._watch(order.job_id or "")
            model = await watch.job.aresult()
            outcome = await self.pipe.tail.ainvoke(model) if self.pipe.tail else model
            is_handed_on = _is_handed_on(outcome)
            await self._change(
                order,
                status=orders.FINISHED,
                is_handed_on=None if is_handed_on is None else int(is_handed_on),
            )
        except JobCancelled:
            await self._change(order, status=orders.CANCELLED)
        except Exception as e:  # noqa: BLE001 - the order says what went wrong
            await self._fail(order, e)

    async def _watch(self, job_id: str) -> JobWatch:
        if job_id not in self._watches:
            self._keep(await self.pipe.trainer.aattach(job_id))
        self._watches.move_to_end(job_id)
        return self._watches[job_id]

    def _keep(self, job: FineTuneJob) -> None:
        if job.id not in self._watches:
            self._watches[job.id] = JobWatch(job, self.limits.look_seconds, self._clock)
        while len(self._watches) > _MOST_JOBS:
            self._watches.popitem(last=False)

    async def _answer_of_job(self, order: Order, job: FineTuneJob, status: str) -> SubmittedJob:
        if status == "failed" or (status == _SUCCEEDED and job.id not in self._tuned):
            try:
                chat_model = await job.ato_chat_model()
                self._tuned[job.id] = _Tuned(chat_model, await aserved(job, chat_model))
                while len(self._tuned) > _MOST_JOBS:
                    self._tuned.popitem(last=False)
            except (TrainingFailed, DeploymentNeeded) as e:
                told = told_of(e, secrets_of(self.pipe.trainer))
                answer = self._answer(order, status)
                return answer.model_copy(update={"error_code": told.code, "error": told.message})
            except JobError:
                return self._answer(order, _FINISHING)  # some hosts name the model a while after the success
        tuned = self._tuned[job.id].model if status == _SUCCEEDED else None
        return self._answer(order, status, tuned)

    def _answer(self, order: Order, status: str, model: FineTunedModel | None = None) -> SubmittedJob:
        host, base = self.pipe.trainer._target  # noqa: SLF001 - the settings are the trainer's own
        return SubmittedJob(
            id=order.id,
            status=status,
            provider=host.name,
            base=base,
            job_id=order.job_id,
            is_reused=order.is_reused,
            is_handed_on=order.is_handed_on,
            error=order.error,
            error_code=order.error_code,
            model=model,
        )


def _order_id_in(given: Any) -> str | None:
    """Return the id of the order that an input is, as `/invoke` answered with it, None where it is none."""
    if not isinstance(given, Mapping) or given.get("type") != "fine_tune_job":
        return None
    return str(given.get("id"))


def _is_over(found: SubmittedJob) -> bool:
    return found.status in ENDED or found.status == orders.INTERRUPTED


def _is_handed_on(outcome: Any) -> bool | None:
    if isinstance(outcome, ChatOpenAI):
        return is_tuned(outcome)
    return True if isinstance(outcome, FineTunedModel) else None
