"""Every error this package raises, in one tree.

```text
FineTuneError
├── SelectionError (ValueError)           no runs are named, or a selection the source cannot evaluate
├── SourceError (ValueError)              a source of runs, rows or sessions cannot be read
│   └── SourceNotFoundError (FileNotFoundError)
├── UnreadableRunError (ValueError)       one run cannot be trained on, and `on_error="raise"`
├── TrainingDataError (ValueError)        rows that no host would accept
│   ├── NotEnoughExamplesError
│   └── InvalidRowsError                  rows that the host would refuse, and why
├── CostLimitError (ValueError)           training would cost more than `max_cost_usd`
│   └── UnknownPriceError (LookupError)   there is a limit and no cost to hold against it
├── StorageError (OSError)                state or recorded runs cannot be kept: full disk, no permission
├── MissingExtraError (ImportError)       an optional part is not installed; the message has the pip line
├── MetricError (RuntimeError)           a metric of your own failed, or returned no score
├── UnknownProviderError (ValueError)     the word before the colon of "provider:base"
├── UnknownBaseError (LookupError)        the word after it
├── SettingError (ValueError)             a setting that the host does not have, refuses, or lacks
├── ServedInputError (ValueError)         what came over HTTP names what only the server may choose
├── NotServableError (TypeError)          a pipe that cannot be served as it is
├── AliasError (ValueError)               a name that is none for an alias, or nothing to go back to
│   └── AliasNotFoundError (LookupError)  no model was promoted to the alias
├── HostError (RuntimeError)              the host answered with an error
│   ├── HostUnreachableError (ConnectionError)      no answer
│   ├── HostUnavailableError (ConnectionError)      an answer that is a fault of the host's: 5xx, no JSON
│   ├── AuthenticationFailedError (PermissionError)
│   ├── AccessDeniedError (PermissionError)         the key is accepted and may not do this
│   ├── TrainingNotAvailable (PermissionError)      the account may not fine-tune any more
│   ├── RateLimitedError                            too many requests, or too many jobs at once
│   │   └── DailyLimitError                         no more jobs today
│   ├── QuotaExceededError                          the money: a billing limit or a plan
│   ├── ContentPolicyError (ValueError)             the host's rules on content
│   ├── TrainingFileRefusedError (TrainingDataError)   the host takes the file for no training file
│   └── NotSupportedError (NotImplementedError)     the host has no such call
├── ServerStartError (RuntimeError)       the embedded server did not come up
└── JobError                              something about one job; has its id
    ├── JobNotFoundError (LookupError)
    ├── CheckpointNotFoundError (LookupError)
    ├── JobTimeoutError (TimeoutError)    the deadline passed; the job itself goes on
    ├── JobCancelled (RuntimeError)
    ├── DeploymentNeeded (RuntimeError)   the job has succeeded; its model answers once it is deployed
    └── TrainingFailed (RuntimeError)     the host ended the job as failed, and why
        ├── TrainingFileInvalid (TrainingDataError)   a row of the file
        ├── TrainingBlocked (ContentPolicyError)      moderation, of the file or of the tuned model
        └── TrainingOverQuota (QuotaExceededError)    the job would cost more than the account may spend
```

A host refuses at create or fails the job later, for the same reason: the classes under `TrainingFailed` are
also the class of that refusal, so `except QuotaExceededError` catches both.


Each class is also the builtin it stands for, so code that catches `ValueError` or `TimeoutError` keeps
working. `is_retryable` says whether the same call may succeed later; a retry policy can ask the error:
`runnable.with_retry(retry_if_exception_type=...)`. All errors can be pickled.

To add one: subclass the closest class here and the builtin it replaces, give every constructor argument
but the message a default (pickling needs it), add it to the tree above and to `docs/errors.md`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class FineTuneError(Exception):
    """Root of the tree."""

    is_retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without a change."""


class SelectionError(FineTuneError, ValueError):
    """No runs are named, or the source cannot evaluate the selection."""


class SourceError(FineTuneError, ValueError):
    """A source of runs, sessions or rows cannot be read."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """The path of a source does not exist."""


class UnreadableRunError(FineTuneError, ValueError):
    """One run cannot be trained on, and the stage was asked to raise.

    Args:
        message: What failed, on which run, and what to do.
        run_id: The run's id.
        reason: The stable reason code, as the report would carry it.
    """

    def __init__(self, message: str, run_id: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id
        self.reason = reason


class TrainingDataError(FineTuneError, ValueError):
    """Rows that no host would accept."""


class NotEnoughExamplesError(TrainingDataError):
    """Fewer training rows than the host's minimum."""


class InvalidRowsError(TrainingDataError):
    """Rows break rules of the host, which would refuse the whole file.

    Args:
        message: What failed, in which rows, and what to do.
        problems: The first problems, each with `file`, `row`, `field`, `code` and `advice`; those of a
            person's own files with their `path` too.
        num_problems: How many there are in all.
    """

    def __init__(self, message: str, problems: Sequence[Any] = (), num_problems: int = 0) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
        self.num_problems = num_problems


class CostLimitError(FineTuneError, ValueError):
    """The training would cost more than the caller's limit; nothing was uploaded.

    Args:
        message: What it would cost, and what to do.
        cost_usd: What it would cost, in US dollars; None where there is no price.
        max_cost_usd: The limit, in US dollars.
        trained_tokens: Tokens that would be paid for.
        usd_per_million_tokens: The price that was reckoned with.
    """

    def __init__(
        self,
        message: str,
        cost_usd: float | None = None,
        max_cost_usd: float | None = None,
        trained_tokens: int | None = None,
        usd_per_million_tokens: float | None = None,
    ) -> None:
        super().__init__(message)
        self.cost_usd = cost_usd
        self.max_cost_usd = max_cost_usd
        self.trained_tokens = trained_tokens
        self.usd_per_million_tokens = usd_per_million_tokens


class UnknownPriceError(CostLimitError, LookupError):
    """There is a limit for the cost, and nobody has said what a token costs, or how many epochs there are."""


class StorageError(FineTuneError, OSError):
    """The state directory, or a file of recorded runs, cannot be used."""


class MissingExtraError(FineTuneError, ImportError):
    """An optional part of the package is not installed."""


class UnknownProviderError(FineTuneError, ValueError):
    """The provider of `"provider:base"` is missing or unknown."""


class UnknownBaseError(FineTuneError, LookupError):
    """The host does not know the base model, or cannot fine-tune it."""


class SettingError(FineTuneError, ValueError):
    """A setting that the host does not have, a value that it does not take, or one that is missing."""


class ServedInputError(FineTuneError, ValueError):
    """What came over HTTP names a file, a project, a URL or a setting that only the server may choose."""


class NotServableError(FineTuneError, TypeError):
    """A pipe that cannot be served as it is; the message says what to put in its place."""


class AliasError(FineTuneError, ValueError):
    """A name that is none for an alias, a model that cannot have one, or nothing to go back to."""


class AliasNotFoundError(AliasError, LookupError):
    """No model was promoted to the alias."""


class MetricError(FineTuneError, RuntimeError):
    """A metric of your own failed, or returned what is no score.

    Args:
        message: What failed, on which row, and what to do.
        metric: The metric's name.
    """

    def __init__(self, message: str, metric: str = "") -> None:
        super().__init__(message)
        self.metric = metric


class HostError(FineTuneError, RuntimeError):
    """The host answered with an error.

    Args:
        message: What failed and what to do.
        status_code: The HTTP status, None where there was no answer.
        code: The host's `error.code`.
        param: The host's `error.param`.
        retry_after_seconds: How long the host asks to be left alone, None where it does not say.
    """

    def __init__(
        self,
        message: str,
        status_code: int | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class HostUnreachableError(HostError, ConnectionError):
    """The host cannot be reached, or broke off."""

    is_retryable = True


class HostUnavailableError(HostError, ConnectionError):
    """The host, or a proxy on the way, answered with a fault of its own: a 5xx, a conflict, no JSON."""

    is_retryable = True


class AuthenticationFailedError(HostError, PermissionError):
    """The host does not accept the key."""


class AccessDeniedError(HostError, PermissionError):
    """The host accepts the key, and does not let it do this."""


class TrainingNotAvailable(HostError, PermissionError):
    """The account may not create fine-tuning jobs (any more)."""


class RateLimitedError(HostError):
    """Too many requests, or too many jobs at once; `retry_after_seconds` says when to come back."""

    is_retryable = True


class DailyLimitError(RateLimitedError):
    """The account has created as many jobs as it may in a day; there is a new day at midnight UTC."""


class QuotaExceededError(HostError):
    """The account may not spend more: a billing limit is reached, or its plan has no fine-tuning."""


class ContentPolicyError(HostError, ValueError):
    """The host's rules on content."""


class TrainingFileRefusedError(HostError, TrainingDataError):
    """The host takes the file for no training file."""


class NotSupportedError(HostError, NotImplementedError):
    """The host has no such call."""


class ServerStartError(FineTuneError, RuntimeError):
    """The embedded server did not come up; the message ends with the last lines of its log."""


class JobError(FineTuneError):
    """Something about one job.

    Args:
        message: What failed and what to do.
        job_id: The job's id at its host.
    """

    def __init__(self, message: str, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id


class JobNotFoundError(JobError, LookupError):
    """The host does not know the job."""


class CheckpointNotFoundError(JobError, LookupError):
    """The job has no such checkpoint."""


class JobTimeoutError(JobError, TimeoutError):
    """The deadline passed. The job goes on at its host: attach to it by its id."""

    is_retryable = True


class JobCancelled(JobError, RuntimeError):
    """The job was cancelled."""


class DeploymentNeeded(JobError, RuntimeError):
    """The job has succeeded, and its model answers once somebody has deployed it, which costs by the hour.

    Args:
        message: What to do, with the exact call.
        job_id: The job's id at its host.
        model: The tuned model's name at its host.
        call: The command that deploys it; what is in angle brackets is yours to fill in.
    """

    def __init__(self, message: str, job_id: str = "", model: str = "", call: str = "") -> None:
        super().__init__(message, job_id)
        self.model = model
        self.call = call


class TrainingFailed(JobError, RuntimeError):
    """The host ended the job as failed.

    Args:
        message: What failed and what to do.
        job_id: The job's id at its host.
        code: The host's `error.code`, such as `invalid_training_file`.
        param: The host's `error.param`.
        events: The last events of the job, oldest first, as the host sent them.
    """

    line_number: int | None = None
    """Line of the training or validation file that the host objects to, from 1."""

    location: str | None = None
    """That line as `path:line`, where the file still lies on this machine."""

    def __init__(
        self,
        message: str,
        job_id: str = "",
        code: str | None = None,
        param: str | None = None,
        events: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(message, job_id)
        self.code = code
        self.param = param
        self.events = tuple(events)


class TrainingFileInvalid(TrainingFailed, TrainingDataError):
    """The host could not train on the file; `line_number` says which row, where the host told."""


class TrainingBlocked(TrainingFailed, ContentPolicyError):
    """The host's moderation blocked the training file, or the tuned model."""

    categories: tuple[str, ...] = ()
    """What it was blocked for, such as `hate`; empty where the host does not say."""


class TrainingOverQuota(TrainingFailed, QuotaExceededError):
    """The job would have cost more than the account may spend."""
