"""A fine-tuning job as its owner holds it: to wait for, to look at, to end, and to come back to."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from langchain_openai import ChatOpenAI

from langchain_finetune.errors import JobError
from langchain_finetune.trainers.chat_model import ready_chat_model
from langchain_finetune.trainers.clearing import Ending
from langchain_finetune.trainers.connection import Connection, silence
from langchain_finetune.trainers.exchange import Exchange, JobProgress
from langchain_finetune.trainers.job_state import JobState
from langchain_finetune.trainers.protocol import HostProtocol
from langchain_finetune.trainers.waiting import Patience, is_finished, wait_for_job

logger = logging.getLogger(__name__)


class FineTuneJob:
    """A job at its host.

    It outlives the process: `FineTuneRunnable(...).attach(job.id)` brings it back. Made by `submit` and
    `attach`, not by hand.

    ```python
    job = FineTuneRunnable("local:smollm2-135m-instruct").submit("rows.jsonl")
    model = job.result()
    ```
    """

    def __init__(  # noqa: PLR0913 - what a job needs, each with a name of its own
        self,
        state: JobState,
        *,
        connection: Connection,
        patience: Patience,
        ending: Ending,
        is_reused: bool = False,
        chat_model_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self._state = state
        self._connection = connection
        self._patience = patience
        self._ending = ending
        self._is_reused = is_reused
        self._chat_model_kwargs = dict(chat_model_kwargs or {})

    def __repr__(self) -> str:
        return f"FineTuneJob({self.id!r}, status={self._state.status!r}, host={self._connection.host.name!r})"

    @property
    def id(self) -> str:
        """The job's id at its host."""
        return self._state.id

    @property
    def is_reused(self) -> bool:
        """Whether an earlier call with the same data and settings created the job."""
        return self._is_reused

    @property
    def status(self) -> str:
        """The job's state now: the host is asked, unless the job has come to its end. Async: `astatus()`."""
        if not self._state.is_terminal:
            self._state = self._connection.run(self._ending.after_look(self._protocol.retrieve_job(self.id)))
        return self._state.status

    async def astatus(self) -> str:
        """Return the job's state now."""
        if not self._state.is_terminal:
            self._state = await self._connection.arun(
                self._ending.after_look(self._protocol.retrieve_job(self.id))
            )
        return self._state.status

    def events(self) -> list[dict[str, Any]]:
        """Return the events so far as the host sent them, oldest first."""
        return self._connection.run(self._protocol.events_since(self.id, set()))

    async def aevents(self) -> list[dict[str, Any]]:
        """Return the events so far as the host sent them, oldest first."""
        return await self._connection.arun(self._protocol.events_since(self.id, set()))

    def metrics(self) -> list[dict[str, Any]]:
        """Return the figures of each step so far, oldest first: `step`, `train_loss` and what else comes."""
        return _metrics(self.events())

    async def ametrics(self) -> list[dict[str, Any]]:
        """Return the figures of each step so far, oldest first: `step`, `train_loss` and what else comes."""
        return _metrics(await self.aevents())

    def result(self, on_progress: Callable[[JobProgress], None] = silence) -> ChatOpenAI:
        """Wait for the job and return its model.

        An interrupt ends the waiting, not the job.

        Args:
            on_progress: Called at each change of state and each new figure.

        Raises:
            TrainingFailed: The host ended the job as failed.
            JobCancelled: The job was cancelled.
            JobTimeoutError: The deadline passed; the job goes on.
        """
        try:
            self._state = self._connection.run(self._wait(), on_progress)
        except KeyboardInterrupt:
            self._say_how_to_come_back()
            raise
        return self.to_chat_model()

    async def aresult(
        self, on_progress: Callable[[JobProgress], Awaitable[None] | None] = silence
    ) -> ChatOpenAI:
        """Wait for the job and return its model.

        A cancellation ends the waiting, not the job.

        Args:
            on_progress: Called, and awaited where it is async, at each change of state and each new figure.

        Raises:
            TrainingFailed: The host ended the job as failed.
            JobCancelled: The job was cancelled.
            JobTimeoutError: The deadline passed; the job goes on.
        """
        try:
            self._state = await self._connection.arun(self._wait(), on_progress)
        except (asyncio.CancelledError, KeyboardInterrupt):
            self._say_how_to_come_back()
            raise
        return await self.ato_chat_model()

    def cancel(self) -> str:
        """Ask the host to end the job, and return its state."""
        self._state = self._connection.run(self._ending.after_look(self._protocol.cancel_job(self.id)))
        return self._state.status

    async def acancel(self) -> str:
        """Ask the host to end the job, and return its state."""
        self._state = await self._connection.arun(self._ending.after_look(self._protocol.cancel_job(self.id)))
        return self._state.status

    def to_chat_model(self) -> ChatOpenAI:
        """Return the model of a job that has succeeded.

        Raises:
            JobError: The job has not ended yet.
            TrainingFailed: The job failed.
            JobCancelled: The job was cancelled.
        """
        model = self._connection.run(self._ending.after_delivery(self._described_model()))
        return self._ready(model)

    async def ato_chat_model(self) -> ChatOpenAI:
        """Return the model of a job that has succeeded.

        Raises:
            JobError: The job has not ended yet.
            TrainingFailed: The job failed.
            JobCancelled: The job was cancelled.
        """
        model = await self._connection.arun(self._ending.after_delivery(self._described_model()))
        # Making the clients of a chat model reads certificates, and may ask where the server is.
        return await asyncio.to_thread(self._ready, model)

    @property
    def _protocol(self) -> HostProtocol:
        return self._connection.protocol

    def _wait(self) -> Exchange[JobState]:
        waiting = wait_for_job(
            self.id,
            self._protocol,
            self._patience,
            is_reused=self._is_reused,
            num_revivals=lambda: self._connection.num_revivals,
        )
        return self._ending.after_look(waiting)

    def _described_model(self) -> Exchange[Mapping[str, Any]]:
        if self._state.model is None:
            self._state = yield from self._protocol.retrieve_job(self.id)
        if not is_finished(self._state, []) or self._state.model is None:
            msg = f"job {self.id} is {self._state.status}: wait for its model with `result()`."
            raise JobError(msg, self.id)
        return (yield from self._protocol.find_model(self._state.model)) or {}

    def _ready(self, model: Mapping[str, Any]) -> ChatOpenAI:
        return ready_chat_model(self._state, model, self._connection, self._chat_model_kwargs)

    def _say_how_to_come_back(self) -> None:
        host = self._connection.host
        logger.warning(
            "stopped waiting for job %s; it goes on at %s. Come back with "
            'FineTuneRunnable("%s:%s").attach("%s"), or run the same pipe again.',
            self.id,
            host.title,
            host.name,
            self._state.base,
            self.id,
        )


def _metrics(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [dict(event["data"]) for event in events if event.get("type") == "metrics" and event.get("data")]
