"""The training stage of the pipe."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr, create_model
from typing_extensions import override

from langchain_finetune._spool import training_data_from
from langchain_finetune._stage import Stage
from langchain_finetune.handles import TrainingData
from langchain_finetune.hosts import LOCAL
from langchain_finetune.trainers.exchange import JOB_EVENT, Exchange, JobProgress
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.job import FineTuneJob
from langchain_finetune.trainers.jobs.key import Order
from langchain_finetune.trainers.migration.migration import (
    Migration,
    ajob_to_migrate,
    as_setting,
    job_to_migrate,
    migrate,
)
from langchain_finetune.trainers.placing.clearing import Ending
from langchain_finetune.trainers.placing.find_or_create import Placed
from langchain_finetune.trainers.placing.site import Site
from langchain_finetune.trainers.preflight.look_ahead import (
    Budget,
    Outlook,
    look_ahead,
    look_at_files,
    place_within,
)
from langchain_finetune.trainers.preflight.order_check import check_order
from langchain_finetune.trainers.preflight.preflight import Preflight
from langchain_finetune.trainers.preflight.row_check import check_files, require_rows
from langchain_finetune.trainers.served import ChatModelOutput, ServedFineTune
from langchain_finetune.trainers.settings import TrainerSettings

Rows = TrainingData | str | os.PathLike[str] | Iterable[Mapping[str, Any]]
"""What a trainer takes: the converter's handle, the path of a JSON Lines file, or rows."""


class FineTuneRunnable(TrainerSettings, Stage[Rows, ChatOpenAI]):
    """Fine-tune a base model on training data and return the tuned model, ready to use.

    The same data and settings land on the same job: it is looked up at the host before anything is
    uploaded, so that a second call, a retry, another process or a restart after a crash neither trains nor
    pays twice. A job that failed or was cancelled is not taken up again.

    While the job runs, the custom event `langchain_finetune_job` tells its state, step, loss and the time
    left. An interrupt or a cancellation ends the waiting and leaves the job: `attach` comes back to it. With
    `cancel_on_interrupt` it cancels the job.

    ```python
    from langchain_finetune import FineTuneRunnable

    trainer = FineTuneRunnable("local:smollm2-135m-instruct")
    model = trainer.invoke("rows.jsonl")
    model.invoke("What's 56/7?")
    ```

    Args:
        target: `"provider:base"`, split at the first colon: `"local:smollm2-135m-instruct"` trains on this
            machine, `"openai:gpt-4.1-mini-2025-04-14"` at OpenAI; `azure`, `nebius`, `together` and
            `fireworks` are known too, see docs/providers.md. With a client or a base URL, the base alone
            will do.
        client: Client of any host that speaks OpenAI's protocol; it stays the caller's to close.
    """

    def __init__(self, target: str, **settings: Any) -> None:
        super().__init__(**{"target": target, **settings})
        # Here and not in a validator, whose errors are pydantic's: an unknown provider has its own.
        host = self._target.host
        if self.alias is not None and host is not LOCAL and not self._has_client:
            msg = f"`alias` is for the embedded server, {host.title} gives its models names of its own."
            raise ValueError(msg)

    @cached_property
    def _connection(self) -> Connection:
        key = self.api_key.get_secret_value() if isinstance(self.api_key, SecretStr) else self.api_key
        return Connection(
            self._target.host, self.client, self.async_client, base_url=self.base_url, api_key=key
        )

    @override
    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        return create_model(self.get_name("Output"), __base__=ChatModelOutput)

    def as_served(self) -> ServedFineTune:
        """Return the same stage with a `FineTunedModel` for its output, which JSON can hold.

        For LangServe and whatever else sends results away: a chat model has clients and keys in it.

        ```python
        add_routes(app, loader | converter | trainer.as_served(), path="/finetune")
        ```
        """
        return ServedFineTune(trainer=self)

    def submit(self, rows: Rows) -> FineTuneJob:
        """Find or create the job and return it without waiting for its end.

        Args:
            rows: What to train on.

        Raises:
            TrainingDataError: The host asks for more training rows, or would refuse some of them.
            SettingError: The host does not have a setting, or does not take its value.
            CostLimitError: It would cost more than `max_cost_usd`.
            UnknownBaseError: The host does not know the base, or cannot train it.
            HostError: The host refused, or cannot be reached.
        """
        return self._submit(self._accept(rows))

    async def asubmit(self, rows: Rows) -> FineTuneJob:
        """Find or create the job and return it without waiting for its end.

        Args:
            rows: What to train on.

        Raises:
            TrainingDataError: The host asks for more training rows, or would refuse some of them.
            SettingError: The host does not have a setting, or does not take its value.
            CostLimitError: It would cost more than `max_cost_usd`.
            UnknownBaseError: The host does not know the base, or cannot train it.
            HostError: The host refused, or cannot be reached.
        """
        return await self._asubmit(await self._aaccept(rows))

    def attach(self, job_id: str) -> FineTuneJob:
        """Come back to a job, in this process or another.

        Args:
            job_id: Its id at the host.

        Raises:
            JobNotFoundError: The host has no such job.
        """
        state = self._connection.run(self._connection.protocol.retrieve_job(job_id))
        return self._job(Placed(state, is_reused=True), self._site())

    async def aattach(self, job_id: str) -> FineTuneJob:
        """Come back to a job, in this process or another.

        Args:
            job_id: Its id at the host.

        Raises:
            JobNotFoundError: The host has no such job.
        """
        state = await self._connection.arun(self._connection.protocol.retrieve_job(job_id))
        return self._job(Placed(state, is_reused=True), await self._asite())

    def preflight(self, rows: Rows, *, today: date | None = None) -> Preflight:
        """Look ahead, without uploading or creating anything: rows, tokens, cost, time, shutdown, limits.

        Problems of the rows are listed, not raised. Printed, and in a notebook, the result is a table.

        Args:
            rows: What would be trained on.
            today: The day from which days left are counted; None is today in UTC.

        Raises:
            SourceError: The rows cannot be read.
            UnknownBaseError: The embedded server does not have the base.
            HostError: The host cannot be reached, or does not take the key.
        """
        outlook, site = self._outlook(self._accept(rows)), self._site()
        return self._connection.run(look_ahead(outlook, site, today or _today(), retrain=self.retrain))

    async def apreflight(self, rows: Rows, *, today: date | None = None) -> Preflight:
        """Look ahead, without uploading or creating anything, as `preflight` does."""
        outlook = await asyncio.to_thread(self._outlook, await self._aaccept(rows))
        site = await self._asite()
        return await self._connection.arun(look_ahead(outlook, site, today or _today(), retrain=self.retrain))

    @classmethod
    def from_openai_job(
        cls,
        job_id: str,
        *,
        target: str,
        client: Any = None,
        keep_name: bool = False,
        target_client: Any = None,
        **settings: Any,
    ) -> Migration:
        """Take over a job of another account: its data and its settings, for a trainer of this target.

        ```python
        migration = FineTuneRunnable.from_openai_job("ftjob-abc", target="local:smollm2-135m-instruct")
        model = migration.retrain()
        ```

        Args:
            job_id: The old job's id.
            target: `"provider:base"` of the new one.
            client: An `openai.OpenAI` of the old account; None is OpenAI's own, by OPENAI_API_KEY.
            keep_name: Whether the new model also gets the old one's name; the embedded server only.
            target_client: Client of the new host, sync or async, where it is not the provider's own.
            **settings: Fields of the new `FineTuneRunnable`; they go before what the old job had.

        Raises:
            JobNotFoundError: The account has no such job.
            SourceNotFoundError: A file of the job was deleted.
            TrainingDataError: The method of the job, or a row, is not for the new host.
            HostError: The old host refused, or cannot be reached.
        """
        return migrate(
            cls,
            job_to_migrate(job_id, client),
            target,
            {**as_setting(target_client), **settings},
            keep_name=keep_name,
        )

    @classmethod
    async def afrom_openai_job(
        cls,
        job_id: str,
        *,
        target: str,
        client: Any = None,
        keep_name: bool = False,
        target_client: Any = None,
        **settings: Any,
    ) -> Migration:
        """Take over a job of another account, as `from_openai_job` does; `client` may be an `AsyncOpenAI`."""
        old = await ajob_to_migrate(job_id, client)
        return await asyncio.to_thread(
            migrate, cls, old, target, {**as_setting(target_client), **settings}, keep_name=keep_name
        )

    @override
    def _accept(self, given: Any) -> TrainingData:
        if isinstance(given, TrainingData):
            return given
        if isinstance(given, Mapping):
            return TrainingData.model_validate(given)
        # Whoever hands over rows has made them for this trainer.
        return training_data_from(given).model_copy(update={"method": self.method})

    @override
    def _run(self, accepted: TrainingData, config: RunnableConfig) -> ChatOpenAI:
        def tell(progress: JobProgress) -> None:
            dispatch_custom_event(JOB_EVENT, progress, config=config)

        return self._submit(accepted).result(tell)

    @override
    async def _arun(self, accepted: TrainingData, config: RunnableConfig) -> ChatOpenAI:
        async def tell(progress: JobProgress) -> None:
            await adispatch_custom_event(JOB_EVENT, progress, config=config)

        job = await self._asubmit(accepted)
        return await job.aresult(tell)

    def _submit(self, data: TrainingData) -> FineTuneJob:
        order, outlook = self._checked(data)
        site = self._site()
        return self._job(self._connection.run(self._place(outlook, order, site)), site)

    async def _asubmit(self, data: TrainingData) -> FineTuneJob:
        order, outlook = await asyncio.to_thread(self._checked, data)
        site = await self._asite()
        return self._job(await self._connection.arun(self._place(outlook, order, site)), site)

    def _checked(self, data: TrainingData) -> tuple[Order, Outlook | None]:
        """Hold the rows to the host's rules; with a limit for the cost, count what it is held against."""
        order, host = self._order(data), self._target.host
        check_order(order, host, num_train=data.num_train)
        if self.max_cost_usd is not None:
            outlook = self._outlook(data)
            require_rows(outlook.check)
            return order, outlook
        files, rules = (order.train, order.validation), self.check_rows
        require_rows(check_files(*files, host, method=self.method, base=order.base, has_rules=rules))
        return order, None

    def _outlook(self, data: TrainingData) -> Outlook:
        budget = Budget(max_cost_usd=self.max_cost_usd, usd_per_million_tokens=self.usd_per_million_tokens)
        return look_at_files(self._order(data), data, self._target.host, budget, has_rules=self.check_rows)

    def _place(self, outlook: Outlook | None, order: Order, site: Site) -> Exchange[Placed]:
        return place_within(
            outlook, order, site, retrain=self.retrain, clears_uploads=self.delete_uploads_after
        )

    def _site(self) -> Site:
        return self._site_of(self._connection.client)

    async def _asite(self) -> Site:
        # Making a client may start the embedded server, and the ledger's place is asked of the disk.
        return await asyncio.to_thread(lambda: self._site_of(self._connection.async_client))

    def _site_of(self, client: Any) -> Site:
        is_embedded = self._connection.server is not None
        return Site.of(client, self._target.host, is_embedded=is_embedded)

    def _job(self, placed: Placed, site: Site) -> FineTuneJob:
        return FineTuneJob(
            placed.job,
            ending=Ending(placed.job.id, site, clears_uploads=self.delete_uploads_after),
            connection=self._connection,
            patience=self._patience,
            is_reused=placed.is_reused,
            chat_model_kwargs=self.chat_model_kwargs,
            deployment=self.deployment,
        )


def _today() -> date:
    return datetime.now(UTC).date()
