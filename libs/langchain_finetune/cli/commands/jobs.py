"""`jobs`: look at jobs, wait for them, end them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from langchain_finetune.cli.options import Duration, given, host_options, host_settings
from langchain_finetune.cli.output import fields, json_option, print_result, quiet_option

F = TypeVar("F", bound=Callable[..., Any])

_MOST_FIGURES: Final = 6


@click.group("jobs")
def command() -> None:
    """Look at jobs, wait for them, end them.

    JOB is `provider:id`, such as `openai:ftjob-abc`, or the bare id of a job that was ordered from this
    machine.
    """


def _job_command(name: str) -> Callable[[F], click.Command]:
    def decorate(function: F) -> click.Command:
        return command.command(name)(click.argument("job")(host_options(json_option(function))))

    return decorate


def _job(name: str, base_url: str | None, api_key_env: str | None, **settings: Any) -> Any:
    from langchain_finetune.trainers import job_named

    return job_named(name, **host_settings(base_url, api_key_env), **settings)


@command.command("list")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="Most jobs."
)
@click.option("--provider", metavar="NAME", help="Of one provider alone.")
@json_option
def list_(limit: int, provider: str | None, *, is_json: bool) -> None:
    """List the jobs that were ordered from this machine, at whatever host, the newest first."""
    from langchain_finetune.trainers import job_list

    print_result(job_list(limit=limit, provider=provider), is_json=is_json)


@_job_command("show")
def show(job: str, base_url: str | None, api_key_env: str | None, *, is_json: bool) -> None:
    """Show a job: its state, its last figures, its checkpoints, why it failed."""
    from langchain_finetune.errors import NotSupportedError

    found = _job(job, base_url, api_key_env)
    state = found.state
    try:
        checkpoints = [point.step for point in found.checkpoints()]
    except NotSupportedError:
        checkpoints = []
    figures = found.metrics()
    told = {
        "job_id": state.id,
        "status": state.status,
        "base": state.base,
        "model": state.model,
        "created_at": state.created_at,
        "finished_at": state.finished_at,
        "error": given(code=state.error_code, message=state.error_message, param=state.error_param) or None,
        "num_steps": len(figures),
        "figures": figures[-1] if figures else None,
        "checkpoints": checkpoints,
    }
    print_result(told, _job_text(told), is_json=is_json)


@_job_command("events")
def events(job: str, base_url: str | None, api_key_env: str | None, *, is_json: bool) -> None:
    """Print the events of a job as its host tells them, oldest first."""
    listed = _job(job, base_url, api_key_env).events()
    lines = [f"{_moment(event.get('created_at'))}  {event.get('message')}" for event in listed]
    print_result(listed, "\n".join(lines) or "There are no events yet.", is_json=is_json)


@command.command("watch")
@click.argument("job")
@click.option(
    "--timeout", type=Duration(), metavar="DURATION", help="How long to wait: 90, 15m, 2h; 24h if absent."
)
@host_options
@quiet_option
@json_option
def watch(
    job: str,
    timeout: float | None,
    base_url: str | None,
    api_key_env: str | None,
    *,
    is_quiet: bool,
    is_json: bool,
) -> None:
    """Wait for the end of a job and show its model; Ctrl-C leaves the job going on."""
    from langchain_finetune.cli.talk import Talk
    from langchain_finetune.cli.training import model_text, told_model

    found = _job(job, base_url, api_key_env, **given(timeout=timeout))
    with Talk(is_quiet=is_quiet, provider=found.provider) as talk:
        told = told_model(found.result(talk.tell), is_reused=False)
    print_result(told, model_text(told), is_json=is_json)


def _change(verb: str, purpose: str) -> None:
    def change(job: str, base_url: str | None, api_key_env: str | None, *, is_json: bool) -> None:
        found = _job(job, base_url, api_key_env)
        status = getattr(found, verb)()
        print_result({"job_id": found.id, "status": status}, f"{found.id} {status}", is_json=is_json)

    change.__doc__ = purpose
    _job_command(verb)(change)


_change("cancel", "Ask the host to end a job.")
_change("pause", "Ask the host to pause a job.")
_change("resume", "Ask the host to go on with a job that is paused.")


def _job_text(told: dict[str, Any]) -> str:
    error, figures = told["error"], told["figures"] or {}
    shown = [f"{name} {value:g}" for name, value in list(figures.items())[:_MOST_FIGURES]]
    return fields(
        [
            ("job", told["job_id"]),
            ("status", told["status"]),
            ("base", told["base"] or None),
            ("model", told["model"]),
            ("created", _moment(told["created_at"])),
            ("finished", _moment(told["finished_at"])),
            ("error", ": ".join(filter(None, (error.get("code"), error.get("message")))) if error else None),
            ("figures", ", ".join(shown) or None),
            ("checkpoints", ", ".join(map(str, told["checkpoints"])) or None),
        ]
    )


def _moment(seconds: Any) -> str | None:
    is_moment = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC" if is_moment else None
