"""Looking ahead: what the files tell of a job, then what its host adds. Nothing is created or uploaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from langchain_finetune.base_names import base_of, without_date
from langchain_finetune.errors import CostLimitError
from langchain_finetune.handles import TrainingData
from langchain_finetune.hosts import LOCAL, Host
from langchain_finetune.rows import rules_of
from langchain_finetune.trainers.exchange import Exchange
from langchain_finetune.trainers.hosts import account
from langchain_finetune.trainers.hosts.protocol import protocol_of
from langchain_finetune.trainers.jobs.key import Order
from langchain_finetune.trainers.placing.find_or_create import Placed, find_job, place
from langchain_finetune.trainers.placing.site import Site
from langchain_finetune.trainers.preflight.costs import cost_of, epochs_of, require_within
from langchain_finetune.trainers.preflight.preflight import JobLimits, Preflight
from langchain_finetune.trainers.preflight.prices import Price, price_of
from langchain_finetune.trainers.preflight.row_check import RowCheck, check_files
from langchain_finetune.trainers.preflight.shutdowns import last_job_date, shutdown_date
from langchain_finetune.trainers.preflight.token_count import TokenCount, count_by_server, count_offline
from langchain_finetune.trainers.preflight.training_time import TrainingTime, training_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the caller is ready to pay."""

    max_cost_usd: float | None = None
    usd_per_million_tokens: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What can be told of a job without a network."""

    order: Order
    host: Host
    budget: Budget
    check: RowCheck
    tokens: TokenCount

    @property
    def target(self) -> str:
        """`"provider:base"`."""
        return f"{self.host.name}:{self.order.base}"


def look_at_files(
    order: Order, data: TrainingData, host: Host, budget: Budget, *, has_rules: bool = True
) -> Outlook:
    """Read the training files.

    Args:
        order: What is to be trained.
        data: Its data.
        host: Where.
        budget: What the caller is ready to pay.
        has_rules: Whether the rules for rows are OpenAI's.

    Raises:
        SourceNotFoundError: A file is gone.
    """
    limit = rules_of(host).max_tokens_of(order.base)
    method, base = order.method, order.base
    check = check_files(order.train, order.validation, host, method=method, base=base, has_rules=has_rules)
    return Outlook(
        order=order,
        host=host,
        budget=budget,
        check=check,
        tokens=count_offline(data, order.base, limit),
    )


def look_ahead(outlook: Outlook, site: Site, today: date, *, retrain: bool = False) -> Exchange[Preflight]:
    """Ask the host for what only the host knows.

    Args:
        outlook: What the files tell.
        site: Where.
        today: The day from which days are counted.
        retrain: Whether a new job is wanted although there is one.

    Raises:
        UnknownBaseError: The embedded server does not have the base.
        AuthenticationFailedError: The host does not accept the key.
        HostUnreachableError: The host cannot be reached.
    """
    order, host = outlook.order, outlook.host
    existing = yield from find_job(order, site, retrain=retrain)
    model = (yield from protocol_of(host).find_model(base_of(order.base))) or {}
    tokens = (yield from _tokens(outlook, model)) or outlook.tokens
    epochs = epochs_of(order.hyperparameters, host, outlook.check.num_rows["train"])
    price = _price(outlook)
    cost = cost_of(tokens, epochs, price)
    time = (yield from _time(outlook, cost.trained_tokens)) or TrainingTime(None, "")
    ends_on = shutdown_date(host.name, order.base, model)
    check = outlook.check
    return Preflight(
        target=outlook.target,
        checked_on=today,
        num_train=check.num_rows["train"],
        num_validation=check.num_rows.get("validation", 0),
        num_bytes=sum(check.num_bytes.values()),
        problems=tuple(check.problems),
        num_errors=check.num_errors,
        num_warnings=check.num_warnings,
        tokens=tokens,
        max_row_tokens=_most_tokens(outlook, model),
        n_epochs=epochs.number,
        is_auto_epochs=epochs.is_auto,
        epochs_source=epochs.source,
        trained_tokens=cost.trained_tokens,
        price=price,
        cost_usd=cost.usd,
        max_cost_usd=outlook.budget.max_cost_usd,
        minutes=time.minutes,
        minutes_source=time.source,
        shutdown_date=ends_on,
        days_left=(ends_on - today).days if ends_on else None,
        last_job_date=last_job_date(host.name, order.base),
        limits=(yield from _limits(order.base, host)),
        existing_job=existing.id if existing else None,
        existing_status=existing.status if existing else None,
    )


def place_within(
    outlook: Outlook | None, order: Order, site: Site, *, retrain: bool = False, clears_uploads: bool = False
) -> Exchange[Placed]:
    """Find the job of an order, or create it where it costs no more than its owner is ready to pay.

    Args:
        outlook: What the files tell, where there is a limit to hold the cost against.
        order: What is to be trained.
        site: Where.
        retrain: As in `place`.
        clears_uploads: As in `place`.

    Raises:
        CostLimitError: It would cost more than the limit, or nobody knows what it would cost.
        HostError: As in `place`.
    """
    try:
        if outlook is not None:
            _require_within_budget(outlook)
    except CostLimitError:
        # A job that is there already is not paid again.
        if (yield from find_job(order, site, retrain=retrain)) is None:
            raise
    return (yield from place(order, site, retrain=retrain, clears_uploads=clears_uploads))


def _require_within_budget(outlook: Outlook) -> None:
    order, host, budget = outlook.order, outlook.host, outlook.budget
    if budget.max_cost_usd is None:
        return
    epochs = epochs_of(order.hyperparameters, host, outlook.check.num_rows["train"])
    require_within(cost_of(outlook.tokens, epochs, _price(outlook)), budget.max_cost_usd, outlook.target)


def _tokens(outlook: Outlook, model: Mapping[str, Any]) -> Exchange[TokenCount | None]:
    if outlook.host is not LOCAL:
        return None
    order = outlook.order
    return (yield from count_by_server(order.train, order.base, _most_tokens(outlook, model), order.method))


def _most_tokens(outlook: Outlook, model: Mapping[str, Any]) -> int | None:
    if outlook.host is LOCAL:
        return _count(model.get("max_model_len"))
    return rules_of(outlook.host).max_tokens_of(outlook.order.base)


def _price(outlook: Outlook) -> Price | None:
    order, budget = outlook.order, outlook.budget
    return price_of(outlook.host.name, order.base, budget.usd_per_million_tokens, method=order.method)


def _time(outlook: Outlook, trained_tokens: int | None) -> Exchange[TrainingTime | None]:
    if outlook.host is not LOCAL or trained_tokens is None:
        return None
    return (yield from training_time(trained_tokens, outlook.order.base, protocol_of(LOCAL)))


def _limits(base: str, host: Host) -> Exchange[JobLimits | None]:
    if not host.has_model_limits:
        return None
    told = yield from account.model_limits(base, without_date(base))
    if told is None:
        return None
    names = {
        "num_pending": "curr_pending_jobs",
        "max_pending": "max_pending_jobs",
        "num_today": "jobs_so_far_today",
        "max_a_day": "max_jobs_per_day",
    }
    return JobLimits(**{ours: _count(told.get(theirs)) for ours, theirs in names.items()})


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
