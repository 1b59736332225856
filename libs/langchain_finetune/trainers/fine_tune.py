"""The training stage of the pipe."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from pydantic import (
    BaseModel,
    Field,
    RootModel,
    SecretStr,
    create_model,
    field_validator,
    model_validator,
)
from typing_extensions import override

from langchain_finetune._spool import sha256_of, training_data_from
from langchain_finetune._stage import Stage
from langchain_finetune.errors import SourceNotFoundError, TrainingDataError
from langchain_finetune.handles import Method, TrainingData
from langchain_finetune.hosts import CUSTOM, LOCAL, Target, parse_target
from langchain_finetune.trainers.clearing import Ending
from langchain_finetune.trainers.connection import Connection
from langchain_finetune.trainers.exchange import Exchange, JobProgress
from langchain_finetune.trainers.job import FineTuneJob
from langchain_finetune.trainers.key import Order
from langchain_finetune.trainers.migration import (
    Migration,
    ajob_to_migrate,
    as_setting,
    job_to_migrate,
    migrate,
)
from langchain_finetune.trainers.order_check import check_order
from langchain_finetune.trainers.placing import Placed
from langchain_finetune.trainers.preflight import Preflight
from langchain_finetune.trainers.preflighting import (
    Budget,
    Outlook,
    look_ahead,
    look_at_files,
    place_within,
)
from langchain_finetune.trainers.row_check import check_files, require_rows
from langchain_finetune.trainers.site import Site
from langchain_finetune.trainers.waiting import Patience

logger = logging.getLogger(__name__)

JOB_EVENT: Final = "langchain_finetune_job"
"""Name of the custom event that reports a job's progress; its data is a `JobProgress`."""

Rows = TrainingData | str | os.PathLike[str] | Iterable[Mapping[str, Any]]
"""What a trainer takes: the converter's handle, the path of a JSON Lines file, or rows."""

_SET_BY_THE_TRAINER: Final = frozenset(
    {"model", "model_name", "api_key", "openai_api_key", "base_url", "openai_api_base"}
)


class FineTuneRunnable(Stage[Rows, ChatOpenAI]):
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

    target: str
    """`"provider:base"`."""

    method: Method = "supervised"
    """Method of training, for which the rows have to be made. `dpo` (beta) and `reinforcement` are refused by
    hosts that do not have them."""

    hyperparameters: dict[str, Any] | None = None
    """`n_epochs`, `batch_size`, `learning_rate_multiplier`; what is missing is the host's choice. What else
    a host has is in docs/providers.md."""

    method_settings: dict[str, Any] | None = None
    """What `reinforcement` has besides hyperparameters, such as its `grader`; sent on as it is."""

    extra_body: dict[str, Any] | None = None
    """Further fields of the job as its host knows them, such as `{"trainingType": "GlobalStandard"}`."""

    suffix: str | None = Field(default=None, min_length=1, max_length=64)
    """Part of the tuned model's name; hosts have rules for it."""

    seed: int | None = None
    """Seed of the training."""

    validation: bool = True
    """Whether the validation rows are sent too, where the data has any and the method takes them."""

    retrain: bool = False
    """Whether a new job is wanted although there is one; the earlier one is left. A job that was created for
    this and whose end nobody on this machine has seen is taken up: a crash or a retry makes no second one."""

    delete_uploads_after: bool = False
    """Whether the uploaded files are deleted at the host when the job has ended, however it ended. Where the
    process dies before, a later run at the same host does it. A file that another live job uses stays until
    that has ended too."""

    alias: str | None = Field(default=None, pattern=r"^ft:\S+$", max_length=512)
    """A further name, `ft:...`, under which the embedded server serves the tuned model: the one that an
    application already asks for. Other hosts do not know it."""

    max_cost_usd: float | None = Field(default=None, ge=0)
    """US dollars that a new job may cost at most; checked before anything is uploaded. A job that is there
    already costs nothing."""

    usd_per_million_tokens: float | None = Field(default=None, ge=0)
    """The price of training, in US dollars for a million tokens; None takes the host's list price."""

    check_rows: bool = True
    """Whether rows are held to OpenAI's rules before they are uploaded; off for a host with other rules."""

    timeout: float = Field(default=86_400.0, gt=0)
    """Seconds to wait for the job; after that the job goes on and can be attached to."""

    poll_interval: float | None = Field(default=None, gt=0)
    """Seconds between two looks at the job; None is the host's default."""

    cancel_on_interrupt: bool = False
    """Whether an interrupt or a cancellation of the waiting cancels the job too; it is left otherwise."""

    deployment: str | None = None
    """Name of the deployment that the tuned model is called by, where a host has them."""

    base_url: str | None = None
    """Where the host is; None is what the environment says, or the host's own URL."""

    api_key: SecretStr | Callable[[], str] | None = Field(default=None, exclude=True, repr=False)
    """The host's key, or a function that returns one, such as a provider of Entra tokens; None is the
    environment's."""

    client: Any = Field(default=None, exclude=True, repr=False)
    """An `openai.OpenAI`, or a client of the host's own SDK, to use instead of one made here."""

    async_client: Any = Field(default=None, exclude=True, repr=False)
    """An `openai.AsyncOpenAI` for the async methods; made after `client` where that alone is given."""

    chat_model_kwargs: dict[str, Any] | None = Field(default=None, repr=False)
    """Further settings of the chat model that comes out, such as `temperature`."""

    def __init__(self, target: str, **settings: Any) -> None:
        super().__init__(**{"target": target, **settings})
        # Here and not in a validator, whose errors are pydantic's: an unknown provider has its own.
        host = self._target.host
        if self.alias is not None and host is not LOCAL and not self._has_client:
            msg = f"`alias` is for the embedded server, {host.title} gives its models names of its own."
            raise ValueError(msg)

    @field_validator("chat_model_kwargs")
    @classmethod
    def _without_what_the_trainer_sets(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if reserved := sorted(_SET_BY_THE_TRAINER.intersection(value or ())):
            msg = (
                f"chat_model_kwargs cannot set {', '.join(reserved)}: the model is called where it was "
                "trained, with the same key. Hand over `client` to choose the host and the key."
            )
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _reached_in_one_way(self) -> Self:
        has_client = self.client is not None or self.async_client is not None
        if has_client and (self.base_url is not None or self.api_key is not None):
            msg = "give either a client or `base_url` and `api_key`: a client has both."
            raise ValueError(msg)
        return self

    @property
    def _has_client(self) -> bool:
        return self.client is not None or self.async_client is not None

    @property
    def _target(self) -> Target:
        is_custom = any(given is not None for given in (self.client, self.async_client, self.base_url))
        if is_custom and self.target and ":" not in self.target:
            return Target(CUSTOM, self.target)
        return parse_target(self.target)

    @cached_property
    def _connection(self) -> Connection:
        key = self.api_key.get_secret_value() if isinstance(self.api_key, SecretStr) else self.api_key
        return Connection(
            self._target.host, self.client, self.async_client, base_url=self.base_url, api_key=key
        )

    @property
    def _patience(self) -> Patience:
        interval = self.poll_interval or self._target.host.poll_interval_seconds
        return Patience(
            timeout_seconds=self.timeout,
            poll_interval_seconds=interval,
            cancel_on_interrupt=self.cancel_on_interrupt,
        )

    @override
    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        # ChatOpenAI itself has fields that JSON schema cannot express.
        return create_model(self.get_name("Output"), __base__=RootModel[Any])

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
        require_rows(check_files(order.train, order.validation, host, has_rules=self.check_rows))
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

    def _order(self, data: TrainingData) -> Order:
        host, base = self._target
        _require_method(data, self.method)
        validation = data.validation if self.validation else None
        if validation and self.method not in host.methods_with_validation:
            logger.warning(
                "%s takes no validation rows with %s: %d rows are not sent",
                host.title,
                self.method,
                data.num_validation,
            )
            validation = None
        return Order(
            base=_resolved_path(base) if host is LOCAL else base,
            method=self.method,
            hyperparameters=self.hyperparameters,
            method_settings=self.method_settings,
            extra_body=self.extra_body,
            suffix=self.suffix,
            seed=self.seed,
            train=data.train,
            train_sha256=_sha256_of(data.train),
            validation=validation,
            validation_sha256=_sha256_of(validation) if validation else None,
            fingerprint=data.fingerprint,
            alias=self.alias,
        )


def _today() -> date:
    return datetime.now(UTC).date()


def _require_method(data: TrainingData, method: str) -> None:
    if data.method != method:
        msg = (
            f"the rows are for the method {data.method!r} and the trainer's is {method!r}: give "
            f"`method={data.method!r}` to the trainer, or make rows for {method!r}."
        )
        raise TrainingDataError(msg)


def _sha256_of(path: Path) -> str:
    try:
        return sha256_of(path)
    except FileNotFoundError as e:
        msg = f"the training rows {path} are gone: run the pipe from its loader on to make them again."
        raise SourceNotFoundError(msg) from e


def _resolved_path(base: str) -> str:
    """Return the absolute path of a base that is one: the server's working directory is another."""
    path = Path(base).expanduser()
    is_model = path.is_file() or (path / "config.json").is_file()
    return str(path.absolute()) if is_model else base
