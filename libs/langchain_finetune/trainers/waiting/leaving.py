"""Leaving a job before its end: it goes on, or is cancelled, and whoever leaves learns how to come back."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from langchain_finetune.errors import FineTuneError
from langchain_finetune.trainers.exchange import Exchange, within
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.jobs.job_state import SUCCEEDED, JobState

logger = logging.getLogger(__name__)

_CANCEL_SECONDS: Final = 10.0
"""Longest wait for the host's answer when an interrupt cancels a job."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """What is done when the waiting for a job is interrupted."""

    job: JobState
    """As it was last seen."""

    connection: Connection
    cancel: Callable[[], Exchange[JobState]] | None
    """Cancels the job; None where it is to go on."""

    def leave(self) -> JobState:
        """Leave the job, or cancel it, and return what is known of it then."""
        if self.cancel is None:
            self.say_how_to_come_back()
            return self.job
        try:
            job = self.connection.run(within(self.cancel(), _CANCEL_SECONDS))
        except KeyboardInterrupt:
            self.say_how_to_come_back()
            raise
        except FineTuneError as e:
            return self._not_cancelled(e)
        return _cancelled(job)

    async def aleave(self) -> JobState:
        """Leave the job, or cancel it, and return what is known of it then."""
        if self.cancel is None:
            self.say_how_to_come_back()
            return self.job
        cancelling = self.connection.arun(within(self.cancel(), _CANCEL_SECONDS))
        task = asyncio.ensure_future(asyncio.wait_for(cancelling, _CANCEL_SECONDS))
        try:
            job = await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            self.say_how_to_come_back()
            raise
        except (FineTuneError, TimeoutError) as e:
            return self._not_cancelled(e)
        return _cancelled(job)

    def say_how_to_come_back(self) -> None:
        """Log that the job goes on, or has ended, and the line that comes back to it."""
        host, job = self.connection.host, self.job
        back = f'FineTuneRunnable("{host.name}:{job.base}").attach("{job.id}")'
        if job.status == SUCCEEDED:
            logger.warning(
                "job %s has ended at %s, and its model was not waited for. Get it with %s.to_chat_model(), "
                "or run the same pipe again.",
                job.id,
                host.title,
                back,
            )
            return
        logger.warning(
            "stopped waiting for job %s; it goes on at %s. Come back with %s, or run the same pipe again.",
            job.id,
            host.title,
            back,
        )

    def _not_cancelled(self, error: Exception) -> JobState:
        logger.warning("job %s could not be cancelled: %s", self.job.id, str(error) or type(error).__name__)
        self.say_how_to_come_back()
        return self.job


def _cancelled(job: JobState) -> JobState:
    logger.warning("stopped waiting for job %s and cancelled it: it is %s", job.id, job.status)
    return job
