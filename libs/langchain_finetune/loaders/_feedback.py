"""Feedback on runs: what is a valid word on a run, and how many words make an average."""

import math
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from langchain_finetune.errors import SettingError
from langchain_finetune.loaders._run_json import dumps
from langchain_finetune.loaders._run_tables import FeedbackRow

_DIGITS: Final = 4
"""Decimal places of a score, as LangSmith keeps them."""


def feedback_row(
    run_id: UUID | str, key: Any, score: Any, said: Mapping[str, Any], feedback_id: UUID | str | None
) -> FeedbackRow:
    """Return feedback as the table holds it.

    Args:
        run_id: The run.
        key: What is rated.
        score: The score, or None.
        said: `value`, `correction` and `comment`, or None for each.
        feedback_id: Id of what it replaces; None is new feedback.

    Raises:
        SettingError: The key is empty, the score is no finite number, or nothing is given at all.
    """
    if not isinstance(key, str) or not key:
        msg = f"feedback on run {run_id} needs a key, such as `user_score`."
        raise SettingError(msg)
    if score is not None and (not isinstance(score, int | float) or not math.isfinite(score)):
        msg = f"feedback {key!r} on run {run_id}: a score is a finite number, True or False."
        raise SettingError(msg)
    body = {name: each for name, each in said.items() if each is not None}
    if score is None and not body:
        msg = f"feedback {key!r} on run {run_id} is empty: give a score, a value, a correction or a comment."
        raise SettingError(msg)
    try:
        text = dumps(body)
    except (TypeError, ValueError) as e:
        msg = f"value and correction of the feedback {key!r} on run {run_id} are made of JSON values."
        raise SettingError(msg) from e
    rounded = None if score is None else round(float(score), _DIGITS)
    return FeedbackRow(str(feedback_id or uuid.uuid4()), str(run_id), key, rounded, time.time(), text)


def stats_of(scores: Iterable[tuple[str, float]]) -> dict[str, dict[str, float]]:
    """Return `feedback_stats` as LangSmith gives them: `n` and `avg` by key."""
    by_key: dict[str, list[float]] = {}
    for key, score in scores:
        by_key.setdefault(key, []).append(score)
    return {key: {"n": len(given), "avg": math.fsum(given) / len(given)} for key, given in by_key.items()}
