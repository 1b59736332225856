"""What `doctor` looks at, one check each: what was found, and what to do about it. No key is ever told."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from langchain_finetune._spool import LAYOUT_VERSION, state_directory, state_path
from langchain_finetune._version import __version__
from langchain_finetune.errors import AuthenticationFailedError, FineTuneError, HostError, MissingExtraError
from langchain_finetune.hosts import CUSTOM, HOSTS, LOCAL, OPENAI, Host

Verdict = Literal["ok", "note", "problem"]

_PACKAGES: Final = ("langchain-core", "langchain-openai", "langsmith", "openai", "httpx2", "pydantic")
_EXTRAS: Final = {
    "local": ("torch", "transformers", "peft", "fastapi", "uvicorn", "xllamacpp", "gguf"),
    "parquet": ("pyarrow", "fsspec"),
    "community": ("langchain_community",),
    "together": ("together",),
    "fireworks": ("fireworks",),
    "near-dup": ("rensa",),
    "pii": ("presidio_analyzer",),
    "evaluation": ("sacrebleu",),
    "serving": ("fastapi", "uvicorn"),
    "langserve": ("langserve", "sse_starlette"),
}
_LITTLE_DISK: Final = 2e9
_SOON_DAYS: Final = 60
_OTHERS: Final = 0o077
_LANGSMITH_KEYS: Final = ("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY")


class Check(NamedTuple):
    """One thing that was looked at."""

    topic: str
    name: str
    verdict: Verdict
    found: str


def checks(*, is_offline: bool, today: date | None = None) -> Iterator[Check]:
    """Look at everything, one after the other.

    Args:
        is_offline: Whether hosts are not asked.
        today: The day from which days left are counted; None is today in UTC.
    """
    day = today or datetime.now(UTC).date()
    yield from _versions()
    yield from _extras()
    yield from _state()
    yield from _server()
    for host in HOSTS.values():
        if host not in (LOCAL, CUSTOM):
            yield _host(host, is_offline=is_offline)
    yield _langsmith(is_offline=is_offline)
    yield from _deadlines(day, is_offline=is_offline)


def _versions() -> Iterator[Check]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Check("versions", "python", "ok", python)
    yield Check("versions", "langchain-finetune", "ok", __version__)
    for name in _PACKAGES:
        try:
            yield Check("versions", name, "ok", version(name))
        except PackageNotFoundError:
            yield Check("versions", name, "problem", f"not installed: pip install {name}")


def _extras() -> Iterator[Check]:
    for extra, modules in _EXTRAS.items():
        missing = [name for name in modules if find_spec(name) is None]
        found = "installed"
        if missing:
            found = f'without {", ".join(missing)}: pip install "langchain-finetune[{extra}]"'
        yield Check("extras", extra, "note" if missing else "ok", found)


def _state() -> Iterator[Check]:
    try:
        path = state_directory()
    except FineTuneError as e:
        yield Check("state", "directory", "problem", str(e))
        return
    yield Check("state", "directory", "ok", f"{path}, layout {LAYOUT_VERSION}, {_size(path) / 1e6:.1f} MB")
    if os.name == "posix" and (mode := path.stat().st_mode) & _OTHERS:
        found = f"others may read it (mode {mode & 0o777:o}), and it holds prompts: chmod 700 {path}"
        yield Check("state", "permissions", "problem", found)
    free = shutil.disk_usage(path).free
    verdict: Verdict = "ok" if free > _LITTLE_DISK else "problem"
    advice = "" if verdict == "ok" else ": free some, or run `langchain-finetune clean --older-than 30`"
    yield Check("state", "disk", verdict, f"{free / 1e9:.1f} GB free{advice}")


def _size(path: Path) -> int:
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += (Path(folder) / name).stat().st_size
            except OSError:
                continue  # it went while we looked
    return total


def _server() -> Iterator[Check]:
    from langchain_finetune.trainers.local.server import LocalServer

    directory = state_path() / "server"
    try:
        endpoint = LocalServer(directory).running()
    except FineTuneError as e:
        yield Check("embedded server", "state", "problem", str(e))
        return
    found = f"runs at {endpoint.base_url}" if endpoint else "does not run; it is started when it is needed"
    yield Check("embedded server", "state", "ok", found)


def _host(host: Host, *, is_offline: bool) -> Check:
    from langchain_finetune.trainers.reach import reach_host

    variable = host.key_variable or ""
    if not os.environ.get(variable):
        return Check("hosts", host.name, "note", f"no key: {variable} is not set")
    if is_offline:
        return Check("hosts", host.name, "ok", f"{variable} is set")
    return _reached("hosts", host.name, variable, lambda: reach_host(host))


def _langsmith(*, is_offline: bool) -> Check:
    from langchain_finetune.loaders.reach import reach_langsmith

    variable = next((name for name in _LANGSMITH_KEYS if os.environ.get(name)), None)
    if variable is None:
        return Check("sources", "langsmith", "note", f"no key: {_LANGSMITH_KEYS[0]} is not set")
    if is_offline:
        return Check("sources", "langsmith", "ok", f"{variable} is set")
    return _reached("sources", "langsmith", variable, reach_langsmith)


def _reached(topic: str, name: str, variable: str, reach: Callable[[], str]) -> Check:
    try:
        place = reach()
    except MissingExtraError as e:
        return Check(topic, name, "note", f"{variable} is set; {e}")
    except AuthenticationFailedError as e:
        return Check(topic, name, "problem", f"{variable} is set and not accepted: {e}")
    except HostError as e:
        return Check(topic, name, "problem", f"{variable} is set; {e}")
    except FineTuneError as e:
        return Check(topic, name, "problem", str(e))
    return Check(topic, name, "ok", f"{place} takes the key of {variable}")


def _deadlines(today: date, *, is_offline: bool) -> Iterator[Check]:
    from langchain_finetune.trainers.preflight.preflight import days_line
    from langchain_finetune.trainers.preflight.shutdowns import LAST_JOB, SHUTDOWNS_AS_OF

    if os.environ.get(OPENAI.key_variable or ""):
        left = (LAST_JOB - today).days
        found = f"no new jobs from {LAST_JOB} on, {days_line(left)} (as of {SHUTDOWNS_AS_OF})"
        yield Check("deadlines", "openai fine-tuning", "note" if left > 0 else "problem", found)
    for base, day in sorted(_tuned_bases(is_offline=is_offline).items(), key=lambda it: it[1]):
        left = (day - today).days
        verdict: Verdict = "ok" if left > _SOON_DAYS else "note" if left >= 0 else "problem"
        found = f"shut down on {day}, {days_line(left)}, and with it what was tuned on it"
        yield Check("deadlines", base, verdict, found)


def _tuned_bases(*, is_offline: bool) -> dict[str, date]:
    """Return the days on which the bases of this machine's jobs end, by base."""
    from langchain_finetune.trainers import job_list
    from langchain_finetune.trainers.preflight.shutdowns import shutdown_date

    if is_offline or not (state_path() / "ledger.sqlite").exists():
        return {}
    jobs: Any = job_list(limit=100)
    days = {job.base: shutdown_date(job.provider or "", job.base) for job in jobs if job.base}
    return {base: day for base, day in days.items() if day is not None}
