"""How long the embedded server would train: from its last job on the same base, or from a measured speed."""

import re
from typing import Final, NamedTuple

from langchain_finetune.trainers.exchange import Exchange
from langchain_finetune.trainers.hosts import account
from langchain_finetune.trainers.hosts.protocol import HostProtocol
from langchain_finetune.trainers.jobs.job_state import event_time

_PARAMETERS_TOKENS_A_SECOND: Final = 135e6 * 360
"""Parameters times tokens a second on two CPU cores: SmolLM2-135M, 140 rows of 290 tokens, one epoch, in
112 s (the calculator example, 2026-11-23). A GPU is many times faster."""

_SIZE: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s?([mb])(?![a-z])", re.IGNORECASE)
_UNITS: Final = {"m": 1e6, "b": 1e9}
_LEAST_SECONDS: Final = 5.0
"""Of a job whose speed is believed: the times of events are whole seconds."""

_NEWEST_JOBS: Final = 100
"""Among which one on the same base is looked for."""


class TrainingTime(NamedTuple):
    """An estimate."""

    minutes: float | None
    source: str


def training_time(trained_tokens: int, base: str, protocol: HostProtocol) -> Exchange[TrainingTime]:
    """Return how long the embedded server would train.

    Args:
        trained_tokens: Tokens of the rows times epochs.
        base: The base model.
        protocol: The server's.
    """
    if (speed := (yield from _last_speed(base, protocol))) is not None:
        source = f"the last job on this base here: {speed:,.0f} tokens a second"
    elif (size := _num_parameters(base)) is not None:
        speed = _PARAMETERS_TOKENS_A_SECOND / size
        source = f"a measurement on two CPU cores: {speed:,.0f} tokens a second for this size of base"
    else:
        return TrainingTime(None, "no job on this base has finished here yet")
    return TrainingTime(round(trained_tokens / speed / 60, 1), source)


def _last_speed(base: str, protocol: HostProtocol) -> Exchange[float | None]:
    """Return the tokens a second of the newest job on a base that trained in one go."""
    for job in (yield from account.jobs(_NEWEST_JOBS)):
        tokens, finished_at = job.get("trained_tokens"), job.get("finished_at")
        is_done = job.get("status") == "succeeded" and job.get("model") == base
        if not (is_done and isinstance(tokens, int) and isinstance(finished_at, int) and tokens > 0):
            continue
        events = yield from protocol.events_since(str(job["id"]), set())
        starts = [
            event_time(event) for event in events if (event.get("data") or {}).get("phase") == "started"
        ]
        if len(starts) == 1 and starts[0] is not None and finished_at - starts[0] >= _LEAST_SECONDS:
            return tokens / (finished_at - starts[0])
    return None


def _num_parameters(base: str) -> float | None:
    """Return the number of parameters that a base's name tells, such as 135 million of `smollm2-135m`."""
    found = _SIZE.findall(base.rsplit("/", 1)[-1])
    return float(found[-1][0]) * _UNITS[found[-1][1].lower()] if found else None
