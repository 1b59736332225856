"""Whether a host can take an order: refused here, before anything is uploaded. Pure but for a file's size."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from langchain_finetune.errors import NotEnoughExamplesError, SettingError, TrainingDataError
from langchain_finetune.hosts import Host, Hyperparameter, require_method
from langchain_finetune.trainers.jobs.key import Order

_MOST_FOR_A_SEED: Final = 2**31 - 1
_SET_BY_THE_TRAINER: Final = frozenset(
    {
        "hyperparameters",
        "metadata",
        "method",
        "model",
        "seed",
        "suffix",
        "training_file",
        "validation_file",
    }
)


def check_order(order: Order, host: Host, *, num_train: int) -> None:
    """Refuse what a host cannot do.

    Args:
        order: What is to be trained.
        host: Where.
        num_train: Training rows.

    Raises:
        NotEnoughExamplesError: The host asks for more training rows.
        TrainingDataError: There are too many rows, or a file is too large.
        SettingError: The host does not have a setting, or does not take its value.
    """
    _check_method(order, host)
    _check_rows(num_train, host)
    _check_files(order, host)
    check_suffix(order.suffix, host)
    check_seed(order.seed, host)
    # What a grader's settings may be is the host's to say.
    if order.method != "reinforcement":
        for name, value in (order.hyperparameters or {}).items():
            check_hyperparameter(name, value, order.method, host)
    _check_extra_body(order.extra_body or {}, host)


def _check_method(order: Order, host: Host) -> None:
    require_method(order.method, host)
    if order.method_settings and order.method != "reinforcement":
        msg = (
            f"`method_settings` are for the method 'reinforcement', not for {order.method!r}: "
            "give `hyperparameters`."
        )
        raise SettingError(msg)


def _check_rows(num_train: int, host: Host) -> None:
    if num_train < host.min_examples:
        msg = (
            f"there are {num_train} training rows, {host.title} needs at least {host.min_examples}: load "
            "more runs, or give smaller test and validation fractions to the converter."
        )
        raise NotEnoughExamplesError(msg)
    if host.max_examples is not None and num_train > host.max_examples:
        msg = (
            f"there are {num_train} training rows, {host.title} takes at most {host.max_examples}: "
            "select fewer runs with `limit` or `sample`."
        )
        raise TrainingDataError(msg)


def _check_files(order: Order, host: Host) -> None:
    for path in (order.train, order.validation):
        if path is None or host.max_file_bytes is None:
            continue
        if (num_bytes := path.stat().st_size) > host.max_file_bytes:
            msg = (
                f"{path.name} has {num_bytes:,} bytes, {host.title} takes a file of at most "
                f"{host.max_file_bytes:,}: select fewer runs with `limit` or `sample`."
            )
            raise TrainingDataError(msg)


def check_suffix(suffix: str | None, host: Host) -> None:
    """Refuse a suffix that a host does not take.

    Raises:
        SettingError: The host has none, or it breaks the host's rule.
    """
    if suffix is None:
        return
    if host.suffix is None:
        msg = f"{host.title} has no `suffix`: leave it out."
        raise SettingError(msg)
    rule = host.suffix
    if len(suffix) > rule.max_length or not re.fullmatch(rule.pattern, suffix):
        msg = (
            f"{host.title} does not take the `suffix` {suffix!r}: it may have up to {rule.max_length} "
            f"characters{' ' + rule.wording if rule.wording else ''}."
        )
        raise SettingError(msg)


def check_seed(seed: int | None, host: Host) -> None:
    """Refuse a seed that a host does not take.

    Raises:
        SettingError: The host has none, or it is out of range.
    """
    if seed is None:
        return
    if not host.has_seed:
        msg = f"{host.title} has no `seed`: leave it out."
        raise SettingError(msg)
    if not 0 <= seed <= _MOST_FOR_A_SEED:
        msg = f"{host.title} does not take the `seed` {seed}: it is from 0 to {_MOST_FOR_A_SEED}."
        raise SettingError(msg)


def check_hyperparameter(name: str, value: Any, method: str, host: Host) -> None:
    """Refuse a hyperparameter that a host does not take with a method.

    Raises:
        SettingError: The host does not have it, or does not take its value.
    """
    known = {**host.hyperparameters, **host.method_hyperparameters.get(method, {})}
    rule = known.get(host.hyperparameter_names.get(name, name))
    if rule is None:
        if host.takes_other_hyperparameters:
            return
        msg = (
            f"{host.title} has no hyperparameter {name!r} for the method {method!r}: it has {_listed(known)}."
        )
        raise SettingError(msg)
    if not _is_within(rule, value):
        msg = f"{host.title} does not take {value!r} for `{name}`: it is {', or '.join(_ranges(rule))}."
        raise SettingError(msg)


def _is_within(rule: Hyperparameter, value: Any) -> bool:
    if isinstance(value, str):
        return value in rule.words or (rule.kind == "str" and not rule.words)
    if rule.kind == "bool" or isinstance(value, bool):
        return rule.kind == "bool" and isinstance(value, bool)
    if not isinstance(value, int if rule.kind == "int" else int | float) or rule.kind == "str":
        return False
    if rule.low is not None and (value <= rule.low if rule.is_low_excluded else value < rule.low):
        return False
    if rule.high is not None and (value >= rule.high if rule.is_high_excluded else value > rule.high):
        return False
    return math.isfinite(value)


def _ranges(rule: Hyperparameter) -> Iterator[str]:
    names = {"int": "a whole number", "float": "a number", "bool": "True or False", "str": "a text"}
    if rule.kind != "str" or not rule.words:
        high = "" if rule.high is None else f" {'below' if rule.is_high_excluded else 'to'} {rule.high:g}"
        low = "" if rule.low is None else f" {'above' if rule.is_low_excluded else 'from'} {rule.low:g}"
        yield names[rule.kind] + low + high
    for word in sorted(rule.words):
        yield repr(word)


def _check_extra_body(extra_body: Mapping[str, Any], host: Host) -> None:
    if extra_body and host.extra_body is None:
        msg = f"{host.title} takes no `extra_body`: leave out {_listed(extra_body)}."
        raise SettingError(msg)
    if ours := _SET_BY_THE_TRAINER.intersection(extra_body):
        msg = f"`extra_body` cannot set {_listed(ours)}: the trainer does, from its own settings."
        raise SettingError(msg)
    for name, value in extra_body.items():
        words = (host.extra_body or {}).get(name)
        # Azure's own documents spell the same word in more than one way.
        if words and str(value).lower() not in {word.lower() for word in words}:
            msg = f"{host.title} does not take {value!r} for `extra_body[{name!r}]`: it is {_listed(words)}."
            raise SettingError(msg)


def _listed(names: Any) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "none"
