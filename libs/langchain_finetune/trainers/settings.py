"""What a trainer is told: its settings, held to each other, and the order that they make of training data."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from langchain_finetune._spool import sha256_of
from langchain_finetune.errors import SourceNotFoundError, TrainingDataError
from langchain_finetune.handles import Method, TrainingData
from langchain_finetune.hosts import CUSTOM, LOCAL, Target, parse_target
from langchain_finetune.trainers.jobs.key import Order
from langchain_finetune.trainers.waiting.wait import Patience

logger = logging.getLogger(__name__)

_SET_BY_THE_TRAINER: Final = frozenset(
    {"model", "model_name", "api_key", "openai_api_key", "base_url", "openai_api_base"}
)


class TrainerSettings(BaseModel):
    """The settings of `FineTuneRunnable`, apart from what it does with them."""

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

    @property
    def _patience(self) -> Patience:
        interval = self.poll_interval or self._target.host.poll_interval_seconds
        return Patience(
            timeout_seconds=self.timeout,
            poll_interval_seconds=interval,
            cancel_on_interrupt=self.cancel_on_interrupt,
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
