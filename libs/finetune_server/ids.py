"""Names of things: made here, and checked here before one becomes part of a path."""

import hashlib
import re
import secrets
import string
from typing import Literal

Kind = Literal["file", "ftjob", "ftevent", "req"]

_BASE62 = string.digits + string.ascii_letters
_ID = re.compile(r"(file|ftjob|ftevent|req)-[0-9a-f]{24}")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def new_id(kind: Kind) -> str:
    """A fresh id, such as `file-` and 24 hexadecimal digits."""
    return f"{kind}-{secrets.token_hex(12)}"


def derived_id(kind: Kind, *parts: str) -> str:
    """The same id for the same parts, so that work done twice names its result once."""
    return f"{kind}-{_digest(*parts)}"


def checkpoint_id(job_id: str, step: int) -> str:
    """The id of a job's checkpoint; of all ids only these have an underscore."""
    return f"ftckpt_{_digest(job_id, str(step))}"


def is_id(kind: Kind, text: str) -> bool:
    """Whether the text has the form of an id of that kind, and so is safe as a file name."""
    match = _ID.fullmatch(text)
    return match is not None and match[1] == kind


def tuned_name(base: str, suffix: str | None, job_id: str) -> str:
    """The name of the model that a job makes: `ft:<base>:local:<suffix>:<8 characters>`."""
    return f"ft:{base}:local:{suffix_slug(suffix)}:{_short_code(job_id)}"


def checkpoint_name(tuned: str, step: int) -> str:
    """The name under which the checkpoint of a tuned model is asked: `ft:…:ckpt-step-<N>`."""
    return f"{tuned}:ckpt-step-{step}"


def is_tuned_name(model_id: str) -> bool:
    """Whether a model's name is one that a job gives."""
    return model_id.startswith("ft:")


def suffix_slug(suffix: str | None) -> str:
    """The suffix as it stands in a model's name, where a colon or a slash would break it."""
    return _NOT_IN_A_NAME.sub("-", suffix or "").strip("-")


def _digest(*parts: str) -> str:
    return hashlib.sha256(":".join(parts).encode()).hexdigest()[:24]


def _short_code(job_id: str) -> str:
    number = int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8])
    digits = []
    for _ in range(8):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "".join(digits)
