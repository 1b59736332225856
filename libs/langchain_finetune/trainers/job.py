"""A fine-tuning job as its owner holds it: to wait for, to look at, to end, and to come back to."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from langchain_openai import ChatOpenAI

from langchain_finetune.errors import HostError, JobError, JobTimeoutError
from langchain_finetune.trainers.chat_model import ready_chat_model
from langchain_finetune.trainers.exchange import Exchange, JobProgress, Sleep, settle
from langchain_finetune.trainers.hosts.connection import Connection, silence
from langchain_finetune.trainers.hosts.openai_clients import Endpoint
from langchain_finetune.trainers.hosts.protocol import HostProtocol
from langchain_finetune.trainers.hosts.refusals import is_transient
from langchain_finetune.trainers.jobs.checkpoints import choose_checkpoint
from langchain_finetune.trainers.jobs.job_state import FAILED, SUCCEEDED, Checkpoint, JobState, read_metrics
from langchain_finetune.trainers.jobs.result_file import parse_result_file
from langchain_finetune.trainers.placing.clearing import Ending
from langchain_finetune.trainers.waiting.failure import files_of
from langchain_finetune.trainers.waiting.leaving import Leaving
from langchain_finetune.trainers.waiting.reports import Reports
from langchain_finetune.trainers.waiting.wait import Circumstances, Patience, require_success, wait_for_job

logger = logging.getLogger(__name__)

_NUM_LAST_EVENTS: Final = 20

_DESCRIPTION_PAUSES: Final = (1.0, 2.0, 4.0, 0.0)
"""Seconds after each question for a model's description that was not answered."""


class _Named(NamedTuple):
    """A job, with the host's description of the model to be called, and the name that it is called by."""

    job: JobState
    model: Mapping[str, Any]
    name: str


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
        deployment: str | None = None,
    ) -> None:
        self._state = state
        self._connection = connection
        self._patience = patience
        self._ending = ending
        self._is_reused = is_reused
        self._chat_model_kwargs = dict(chat_model_kwargs or {})
        self._deployment = deployment

    def __repr__(self) -> str:
        return f"FineTuneJob({self.id!r}, status={self._state.status!r}, host={self._connection.host.name!r})"

    @property
    def id(self) -> str:
        """The job's id at its host."""
        return self._state.id

    @property
    def provider(self) -> str:
        """Name of its host, as before the colon of `"provider:base"`."""
        return self._connection.host.name

    @property
    def state(self) -> JobState:
        """The job as it was last seen; `status` looks anew."""
        return self._state

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

    def events(self, known: Iterable[str] = ()) -> list[dict[str, Any]]:
        """Return the events so far as the host sent them, oldest first, but for those of the known ids."""
        return self._connection.run(self._protocol.events_since(self.id, set(known)))

    async def aevents(self, known: Iterable[str] = ()) -> list[dict[str, Any]]:
        """Return the events so far as the host sent them, oldest first, but for those of the known ids."""
        return await self._connection.arun(self._protocol.events_since(self.id, set(known)))

    def metrics(self) -> list[dict[str, float]]:
        """Return the figures of each step so far, oldest first.

        Each row has `step` and every other number that the host tells of it, such as `train_loss`,
        `valid_loss`, `full_valid_loss`, `train_mean_token_accuracy`; what is no number is left out.
        """
        return _metrics(self.events())

    async def ametrics(self) -> list[dict[str, float]]:
        """Return the figures of each step so far, oldest first: see `metrics`."""
        return _metrics(await self.aevents())

    def result_file(self) -> list[dict[str, float]]:
        """Return the rows of the result file: `step` and the figures of it by their column's name.

        Raises:
            JobError: There is no result file (yet), or it is none.
        """
        return self._connection.run(self._result_file())

    async def aresult_file(self) -> list[dict[str, float]]:
        """Return the rows of the result file: `step` and the figures of it by their column's name.

        Raises:
            JobError: There is no result file (yet), or it is none.
        """
        return await self._connection.arun(self._result_file())

    def checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints that can be asked, by their steps; hosts keep the last few.

        Raises:
            NotSupportedError: The host lists none.
        """
        return self._connection.run(self._protocol.checkpoints(self.id))

    async def acheckpoints(self) -> list[Checkpoint]:
        """Return the checkpoints that can be asked, by their steps; hosts keep the last few.

        Raises:
            NotSupportedError: The host lists none.
        """
        return await self._connection.arun(self._protocol.checkpoints(self.id))

    def result(self, on_progress: Callable[[JobProgress], None] = silence) -> ChatOpenAI:
        """Wait for the job and return its model.

        An interrupt ends the waiting and leaves the job, unless the trainer has `cancel_on_interrupt`.

        Args:
            on_progress: Called at each change of state and each new figure.

        Raises:
            TrainingFailed: The host ended the job as failed.
            JobCancelled: The job was cancelled.
            JobTimeoutError: The deadline passed; the job goes on.
            DeploymentNeeded: Somebody has to deploy the model first; the error has the exact call.
        """
        reports = Reports(on_progress)
        try:
            self._state = self._connection.run(self._wait(), reports)
            # Where a host deploys, this takes its time too.
            return self.to_chat_model()
        except KeyboardInterrupt:
            reports.leave()
            self._state = self._leaving.leave()
            raise
        except (HostError, JobTimeoutError):
            reports.leave()
            self._leaving.say_how_to_come_back()
            raise

    async def aresult(
        self, on_progress: Callable[[JobProgress], Awaitable[None] | None] = silence
    ) -> ChatOpenAI:
        """Wait for the job and return its model.

        A cancellation ends the waiting and leaves the job, unless the trainer has `cancel_on_interrupt`.

        Args:
            on_progress: Called, and awaited where it is async, at each change of state and each new figure.

        Raises:
            TrainingFailed: The host ended the job as failed.
            JobCancelled: The job was cancelled.
            JobTimeoutError: The deadline passed; the job goes on.
            DeploymentNeeded: Somebody has to deploy the model first; the error has the exact call.
        """
        reports = Reports(on_progress)
        try:
            self._state = await self._connection.arun(self._wait(), reports)
            # Where a host deploys, this takes its time too.
            return await self.ato_chat_model()
        except asyncio.CancelledError:
            await settle(reports.leave())
            self._state = await self._leaving.aleave()
            raise
        except (HostError, JobTimeoutError):
            await settle(reports.leave())
            self._leaving.say_how_to_come_back()
            raise
        except KeyboardInterrupt:
            # The loop has stopped: nothing can be awaited any more.
            self._leaving.say_how_to_come_back()
            raise

    def cancel(self) -> str:
        """Ask the host to end the job, and return its state."""
        return self._changed(
            self._connection.run(self._ending.after_look(self._protocol.cancel_job(self.id)))
        )

    async def acancel(self) -> str:
        """Ask the host to end the job, and return its state."""
        return self._changed(
            await self._connection.arun(self._ending.after_look(self._protocol.cancel_job(self.id)))
        )

    def pause(self) -> str:
        """Ask the host to pause the job, and return its state; whoever waits for the job waits on.

        Raises:
            NotSupportedError: The host cannot pause.
        """
        return self._changed(self._connection.run(self._protocol.pause_job(self.id)))

    async def apause(self) -> str:
        """Ask the host to pause the job, and return its state; whoever waits for the job waits on.

        Raises:
            NotSupportedError: The host cannot pause.
        """
        return self._changed(await self._connection.arun(self._protocol.pause_job(self.id)))

    def resume(self) -> str:
        """Ask the host to go on with a paused job, and return its state.

        Raises:
            NotSupportedError: The host cannot pause.
        """
        return self._changed(self._connection.run(self._protocol.resume_job(self.id)))

    async def aresume(self) -> str:
        """Ask the host to go on with a paused job, and return its state.

        Raises:
            NotSupportedError: The host cannot pause.
        """
        return self._changed(await self._connection.arun(self._protocol.resume_job(self.id)))

    def to_chat_model(
        self, *, checkpoint: int | str | None = None, deployment: str | None = None
    ) -> ChatOpenAI:
        """Return the model of a job that has succeeded, or of a checkpoint of any job.

        Args:
            checkpoint: A step, a checkpoint's id, `"last"`, or `"best"`: the one with the lowest
                `full_valid_loss`, or `valid_loss` where the host does not tell that.
            deployment: Name of the deployment to call, at a host where models have to be deployed; None is
                what the trainer was given.

        Raises:
            DeploymentNeeded: Somebody has to deploy the model first; the error has the exact call.
            JobError: The job has not ended yet.
            TrainingFailed: The job failed.
            JobCancelled: The job was cancelled.
            CheckpointNotFoundError: There is no such checkpoint.
            NotSupportedError: The host lists no checkpoints.
        """
        delivered = self._delivered(checkpoint, deployment, self._connection.endpoint)
        return self._ready(self._connection.run(delivered))

    async def ato_chat_model(
        self, *, checkpoint: int | str | None = None, deployment: str | None = None
    ) -> ChatOpenAI:
        """Return the model of a job that has succeeded, or of a checkpoint of any job.

        Args:
            checkpoint: A step, a checkpoint's id, `"last"`, or `"best"`: the one with the lowest
                `full_valid_loss`, or `valid_loss` where the host does not tell that.
            deployment: Name of the deployment to call, at a host where models have to be deployed; None is
                what the trainer was given.

        Raises:
            DeploymentNeeded: Somebody has to deploy the model first; the error has the exact call.
            JobError: The job has not ended yet.
            TrainingFailed: The job failed.
            JobCancelled: The job was cancelled.
            CheckpointNotFoundError: There is no such checkpoint.
            NotSupportedError: The host lists no checkpoints.
        """
        # Making a client may ask where the embedded server is.
        endpoint = await asyncio.to_thread(lambda: self._connection.endpoint)
        named = await self._connection.arun(self._delivered(checkpoint, deployment, endpoint))
        # Making the clients of a chat model reads certificates, and may ask where the server is.
        return await asyncio.to_thread(self._ready, named)

    @property
    def _protocol(self) -> HostProtocol:
        return self._connection.protocol

    def _wait(self) -> Exchange[JobState]:
        waiting = wait_for_job(
            self.id,
            self._protocol,
            self._patience,
            Circumstances(
                is_reused=self._is_reused,
                model_grace_seconds=self._connection.host.model_grace_seconds,
                num_revivals=lambda: self._connection.num_revivals,
                files=files_of,
            ),
        )
        return self._ending.after_look(waiting)

    def _changed(self, state: JobState) -> str:
        self._state = state
        return state.status

    def _delivered(
        self, checkpoint: int | str | None, deployment: str | None, endpoint: Endpoint
    ) -> Exchange[_Named]:
        named = self._named(checkpoint, deployment, endpoint)
        # A checkpoint's model may be asked for while the job goes on: no end has been seen.
        return self._ending.after_delivery(named) if checkpoint is None else named

    def _named(
        self, checkpoint: int | str | None, deployment: str | None, endpoint: Endpoint
    ) -> Exchange[_Named]:
        job = (yield from self._succeeded()) if checkpoint is None else self._state
        if checkpoint is not None:
            found = yield from self._protocol.checkpoints(self.id)
            job = replace(job, model=choose_checkpoint(found, checkpoint, self.id).model)
        described = yield from self._described(job.model or "")
        name = yield from self._protocol.served_name(job, endpoint, deployment or self._deployment)
        return _Named(job, described, name)

    def _described(self, name: str) -> Exchange[Mapping[str, Any]]:
        """Ask what the host tells of a model; it is worth a few tries, and no reason to lose the model."""
        for pause in _DESCRIPTION_PAUSES:
            try:
                return (yield from self._protocol.find_model(name)) or {}
            except HostError as e:
                if not is_transient(e):
                    raise
                logger.info("model %s could not be described: %s", name, e)
            yield Sleep(pause)
        return {}

    def _succeeded(self) -> Exchange[JobState]:
        if self._state.model is None:
            self._state = yield from self._protocol.retrieve_job(self.id)
        job = self._state
        events = (yield from self._protocol.events_since(self.id, set())) if job.status == FAILED else []
        require_success(job, events[-_NUM_LAST_EVENTS:], files_of(job))
        if job.status != SUCCEEDED or job.model is None:
            msg = f"job {self.id} is {job.status}: wait for its model with `result()`."
            raise JobError(msg, self.id)
        return job

    def _result_file(self) -> Exchange[list[dict[str, float]]]:
        if not self._state.result_files:
            self._state = yield from self._protocol.retrieve_job(self.id)
        if not self._state.result_files:
            msg = (
                f"job {self.id} is {self._state.status} and has no result file: `metrics()` has its figures."
            )
            raise JobError(msg, self.id)
        file_id = self._state.result_files[0]
        content = yield from self._protocol.download(file_id)
        try:
            return parse_result_file(content)
        except ValueError as e:
            msg = (
                f"the result file {file_id} of job {self.id} cannot be read: {e}. "
                "`metrics()` has the figures that the host told step by step."
            )
            raise JobError(msg, self.id) from e

    def _ready(self, named: _Named) -> ChatOpenAI:
        return ready_chat_model(named.job, named.model, self._connection, self._chat_model_kwargs, named.name)

    @property
    def _leaving(self) -> Leaving:
        def cancel() -> Exchange[JobState]:
            return self._ending.after_look(self._protocol.cancel_job(self.id))

        cancels = self._patience.cancel_on_interrupt and not self._state.is_terminal
        return Leaving(self._state, self._connection, cancel if cancels else None)


def _metrics(events: list[dict[str, Any]]) -> list[dict[str, float]]:
    return [dict(metrics.figures) for event in events if (metrics := read_metrics(event))]
