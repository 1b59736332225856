"""Coming over from another account's job: the same data and settings, for a trainer somewhere else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI

from langchain_finetune._tables import html_table, text_table
from langchain_finetune.errors import InvalidRowsError, JobError, SettingError, TrainingDataError
from langchain_finetune.handles import TrainingData
from langchain_finetune.hosts import CUSTOM, HOSTS, OPENAI, Host, parse_target
from langchain_finetune.trainers.hosts.account import connection_to, is_async
from langchain_finetune.trainers.migration.old_job import OldFile, OldJob, fetch_job
from langchain_finetune.trainers.preflight.order_check import check_hyperparameter, check_seed, check_suffix
from langchain_finetune.trainers.preflight.row_check import check_files, require_rows

if TYPE_CHECKING:
    from langchain_finetune.trainers.fine_tune import FineTuneRunnable

_KNOWN_EVERYWHERE: Final = frozenset({"n_epochs", "batch_size"})
_OF_METHOD: Final = {"dpo": frozenset({"beta"})}
_RATE: Final = "learning_rate_multiplier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """An old job, ready to be trained anew: printed, and in a notebook, it is a table.

    ```python
    migration = FineTuneRunnable.from_openai_job("ftjob-abc", target="local:smollm2-135m-instruct")
    print(migration.runnable.preflight(migration.data))
    model = migration.retrain()
    ```
    """

    runnable: "FineTuneRunnable"
    """The trainer for the new host, with the old settings."""

    data: TrainingData
    """The old rows, in the state directory. The old validation rows, which neither model trains on, are also
    its `test` rows: `ModelComparison` asks them."""

    job_id: str
    """Of the old job."""

    old_base: str
    old_model: str | None
    """Name of the old tuned model; None where the job has not succeeded."""

    settings: Mapping[str, Any]
    """What was taken over from the old job."""

    left_out: tuple[str, ...]
    """What was not, and why, a sentence each."""

    files: tuple[OldFile, ...]
    """The old files: id, size and SHA-256 of what came over the wire."""

    def retrain(self, config: RunnableConfig | None = None) -> ChatOpenAI:
        """Train on the old data and return the new model; the same as `runnable.invoke(data)`."""
        return self.runnable.invoke(self.data, config)

    async def aretrain(self, config: RunnableConfig | None = None) -> ChatOpenAI:
        """Train on the old data and return the new model; the same as `runnable.ainvoke(data)`."""
        return await self.runnable.ainvoke(self.data, config)

    def __str__(self) -> str:
        return text_table(self._rows())

    def _repr_html_(self) -> str:
        return html_table(self._rows(), caption=f"Migration of {self.job_id}")

    def _rows(self) -> list[tuple[str, str]]:
        data, settings = self.data, ", ".join(f"{name}={value}" for name, value in self.settings.items())
        rows = [
            ("from", f"{self.job_id} on {self.old_base}"),
            ("old model", self.old_model or "none"),
            ("to", self.runnable.target),
            ("rows", f"{data.num_train} train, {data.num_validation} validation"),
            ("settings", settings or "none"),
        ]
        rows += [("served as", self.runnable.alias)] if self.runnable.alias else []
        return rows + [("left out", reason) for reason in self.left_out]


def job_to_migrate(job_id: str, client: Any) -> OldJob:
    """Read a job of the client's account and download its files."""
    return connection_to(client).run(fetch_job(job_id))


async def ajob_to_migrate(job_id: str, client: Any) -> OldJob:
    """Read a job of the client's account and download its files."""
    return await connection_to(client).arun(fetch_job(job_id))


def as_setting(client: Any) -> dict[str, Any]:
    """Return a client of the new host as the trainer's setting that it is for."""
    if client is None:
        return {}
    return {"async_client" if is_async(client) else "client": client}


def migrate(
    trainer: "type[FineTuneRunnable]",
    old: OldJob,
    target: str,
    given: Mapping[str, Any],
    *,
    keep_name: bool,
) -> Migration:
    """Make the trainer that does an old job anew, and hold the old rows to its host's rules.

    Args:
        trainer: The trainer's class.
        old: The old job.
        target: `"provider:base"`.
        given: The caller's own settings; they go before the old ones.
        keep_name: Whether the new model is to be served under the old one's name, too.

    Raises:
        TrainingDataError: The method of the old job, or a row, is not for the new host.
        JobError: There is no name to keep.
    """
    host = _host_of(target, given)
    _require_method(old, host)
    settings, left_out = carried_over(old, host)
    if keep_name:
        settings["alias"] = _name_of(old)
    runnable = trainer(target, **{**settings, **given})
    _require_rows(old, host, has_rules=runnable.check_rows)
    return Migration(
        runnable=runnable,
        data=old.data,
        job_id=old.id,
        old_base=old.base,
        old_model=old.model,
        settings={name: value for name, value in settings.items() if name not in given and name != "alias"},
        left_out=left_out,
        files=old.files,
    )


def carried_over(old: OldJob, host: Host) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the settings of an old job that mean the same at a host, and why the others do not."""
    known = _KNOWN_EVERYWHERE | _OF_METHOD.get(old.method, set()) | ({_RATE} if host is OPENAI else set())
    carried: dict[str, Any] = {}
    left_out = []
    for name, value in old.hyperparameters.items():
        if value is None or value == "auto":
            left_out.append(f"{name}: it was left to the host")
        elif name == _RATE and name not in known:
            left_out.append(f"{name}={value}: it multiplies a rate of OpenAI's own, which differs elsewhere")
        elif old.method != "reinforcement" and name not in known:
            left_out.append(f"{name}: {host.title} does not know it")
        elif old.method != "reinforcement" and (
            why := _refusal(check_hyperparameter, name, value, old.method, host)
        ):
            left_out.append(f"{name}={value}: {why}")
        else:
            carried[name] = value
    settings: dict[str, Any] = {
        "hyperparameters": carried or None,
        "method_settings": dict(old.method_settings) or None if old.method == "reinforcement" else None,
        "method": old.method if old.method != "supervised" else None,
    }
    for name, value, check in (("seed", old.seed, check_seed), ("suffix", old.suffix, check_suffix)):
        if why := _refusal(check, value, host):
            left_out.append(f"{name}={value}: {why}")
        else:
            settings[name] = value
    if old.missing_validation:
        left_out.append(f"validation file {old.missing_validation}: it was deleted at its host")
    if old.has_integrations:
        left_out.append("integrations: they belong to the old account")
    return {name: value for name, value in settings.items() if value is not None}, tuple(left_out)


def _host_of(target: str, given: Mapping[str, Any]) -> Host:
    has_client = given.get("client") is not None or given.get("async_client") is not None
    is_custom = has_client or given.get("base_url") is not None
    return CUSTOM if is_custom and ":" not in target else parse_target(target).host


def _refusal(check: Callable[..., None], *args: Any) -> str | None:
    """Return why a host does not take a setting, None where it does."""
    try:
        check(*args)
    except SettingError as e:
        return str(e)
    return None


def _require_method(old: OldJob, host: Host) -> None:
    if old.method in host.methods:
        return
    others = ", ".join(f'"{each.name}:..."' for each in HOSTS.values() if old.method in each.methods)
    way_out = f"Choose one of them as `target`: {others}" if others else "No host known here does"
    if old.method == "dpo":
        way_out += ", or train supervised on each `input.messages` with its `preferred_output` at the end"
    msg = (
        f"job {old.id} was trained by the method {old.method!r}, which {host.title} does not have. "
        f"{way_out}. Its rows lie in {old.data.train}."
    )
    raise TrainingDataError(msg)


def _name_of(old: OldJob) -> str:
    if old.model is None:
        msg = f"job {old.id} has no tuned model, so there is no name to keep: leave `keep_name` out."
        raise JobError(msg, old.id)
    return old.model


def _require_rows(old: OldJob, host: Host, *, has_rules: bool) -> None:
    data = old.data
    try:
        require_rows(check_files(data.train, data.validation, host, method=old.method, has_rules=has_rules))
    except InvalidRowsError as e:
        msg = f"{e} The rows lie in {data.train}: correct a copy, and train on that."
        raise InvalidRowsError(msg, e.problems, e.num_problems) from e
