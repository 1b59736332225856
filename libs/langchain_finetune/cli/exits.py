"""The exit codes of the command: one table, told in docs/cli.md too."""

from enum import IntEnum
from typing import Final

from langchain_finetune import errors


class ExitCode(IntEnum):
    """What a script may tell apart."""

    DONE = 0
    FAILED = 1
    NOT_UNDERSTOOD = 2
    REFUSED = 3
    OVER_COST_LIMIT = 4
    STILL_RUNNING = 5
    NO_DATA = 6
    TRY_LATER = 7
    NOT_BETTER = 8
    INTERRUPTED = 130


MEANINGS: Final = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed: also a job that the host ended as failed, or that was cancelled",
    ExitCode.NOT_UNDERSTOOD: "not understood: an option, a setting, a provider, a pipe file",
    ExitCode.REFUSED: "refused by the host: the key, a permission, a quota, an unknown base, job or model",
    ExitCode.OVER_COST_LIMIT: "over the cost limit, or nobody knows the price; nothing was uploaded",
    ExitCode.STILL_RUNNING: "still running: the time to wait is over, the job goes on",
    ExitCode.NO_DATA: "nothing to work on: a source is missing or unreadable, nothing is selected, rows that "
    "no host takes",
    ExitCode.TRY_LATER: "not reached, or too many requests: the same command may succeed later",
    ExitCode.NOT_BETTER: "compared, and the tuned model is not better than the gate asks for",
    ExitCode.INTERRUPTED: "interrupted; a job goes on",
}

_BY_ERROR: Final[tuple[tuple[type[Exception], ExitCode], ...]] = (
    # The first that fits: what a job ended with is also the class of the refusal that it stands for.
    (errors.TrainingFailed, ExitCode.FAILED),
    (errors.JobCancelled, ExitCode.FAILED),
    (errors.CostLimitError, ExitCode.OVER_COST_LIMIT),
    (errors.JobTimeoutError, ExitCode.STILL_RUNNING),
    (errors.JobNotFoundError, ExitCode.REFUSED),
    (errors.CheckpointNotFoundError, ExitCode.REFUSED),
    (errors.UnknownBaseError, ExitCode.REFUSED),
    (errors.HostUnreachableError, ExitCode.TRY_LATER),
    (errors.HostUnavailableError, ExitCode.TRY_LATER),
    (errors.RateLimitedError, ExitCode.TRY_LATER),
    (errors.HostError, ExitCode.REFUSED),
    (errors.SelectionError, ExitCode.NO_DATA),
    (errors.SourceError, ExitCode.NO_DATA),
    (errors.UnreadableRunError, ExitCode.NO_DATA),
    (errors.TrainingDataError, ExitCode.NO_DATA),
    (errors.AliasError, ExitCode.NOT_UNDERSTOOD),
    (errors.UnknownProviderError, ExitCode.NOT_UNDERSTOOD),
    (errors.SettingError, ExitCode.NOT_UNDERSTOOD),
)


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code that an error ends the command with."""
    for kind, code in _BY_ERROR:
        if isinstance(error, kind):
            return code
    return ExitCode.FAILED
