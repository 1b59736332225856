"""`models`: list tuned models, name them, ask them."""

import sys
from pathlib import Path
from typing import Any

import click

from langchain_finetune.cli.named import MODEL_HELP, model_at
from langchain_finetune.cli.options import given, host_options, host_settings
from langchain_finetune.cli.output import json_option, print_result


@click.group("models")
def command() -> None:
    """List tuned models, name them, ask them."""


@command.command("list")
@click.option(
    "--limit", type=click.IntRange(1), default=100, metavar="N", help="Most jobs that are looked at."
)
@click.option("--at", "provider", metavar="PROVIDER", help="All models that this host lists, tuned or not.")
@host_options
@json_option
def list_(
    limit: int, provider: str | None, base_url: str | None, api_key_env: str | None, *, is_json: bool
) -> None:
    """List the models that were tuned from this machine, with their aliases."""
    # The trainers bring in openai, which takes seconds.
    from langchain_finetune.trainers import host_models, job_list

    if provider is not None:
        listed = host_models(provider, **host_settings(base_url, api_key_env))
        print_result(listed, "\n".join(str(model.get("id")) for model in listed), is_json=is_json)
        return
    from langchain_finetune.serving import AliasStore

    aliases: dict[str, list[str]] = {}
    for name, move in AliasStore().current().items():
        if move.model is not None:
            aliases.setdefault(move.model.model, []).append(name)
    models = [
        {
            "model": f"{job.provider}:{job.model}",
            "base": job.base,
            "job_id": job.job_id,
            "finished_at": job.finished_at,
            "aliases": aliases.get(job.model, []),
        }
        for job in job_list(limit=limit)
        if job.model is not None
    ]
    print_result(models, _models_text(models), is_json=is_json)


def _models_text(models: list[dict[str, Any]]) -> str:
    from langchain_finetune._tables import text_table

    if not models:
        return (
            "No model was tuned from this machine yet, or none that can be seen with the environment's keys."
        )
    # The longest name stands last: a narrow terminal wraps that alone.
    rows = [(it["job_id"], ", ".join(it["aliases"]) or "-", it["model"]) for it in models]
    return text_table([("job", "aliases", "model"), *rows])


@command.command(
    "alias", help=f"List aliases, or move one.\n\nWith ALIAS alone, show its history. {MODEL_HELP}"
)
@click.argument("alias", required=False)
@click.argument("model", required=False)
@click.option("--rollback", is_flag=True, help="Go back to the model before the present one.")
@click.option("--remove", is_flag=True, help="Let it stand for nothing.")
@click.option("--note", default="", metavar="TEXT", help="Why, for the history.")
@host_options
@json_option
def alias(
    alias: str | None,
    model: str | None,
    note: str,
    base_url: str | None,
    api_key_env: str | None,
    *,
    rollback: bool,
    remove: bool,
    is_json: bool,
) -> None:
    """List aliases, or move one."""
    from langchain_finetune.serving import AliasStore

    store = AliasStore()
    if rollback + remove + (model is not None) > 1 or (alias is None and (rollback or remove)):
        msg = "give one ALIAS, and one of MODEL, --rollback and --remove."
        raise click.UsageError(msg)
    if alias is None:
        _show_moves(list(store.current().values()), is_json=is_json)
    elif model is not None:
        tuned = model_at(model, base_url, api_key_env)
        _show_moves([store.promote(alias, tuned, note=note)], is_json=is_json)
    elif rollback or remove:
        move = (store.rollback if rollback else store.remove)(alias, note=note)
        _show_moves([move], is_json=is_json)
    else:
        _show_moves(store.history(alias), is_json=is_json)


def _show_moves(moves: list[Any], *, is_json: bool) -> None:
    from langchain_finetune._tables import text_table

    rows = [
        (
            it.alias,
            it.kind,
            f"{it.moved_at:%Y-%m-%d %H:%M}",
            f"{it.model.provider}:{it.model.model}" if it.model else "(nothing)",
            it.note,
        )
        for it in moves
    ]
    header = ("alias", "by", "at", "model", "note")
    print_result(moves, text_table([header, *rows]) if rows else "There is no alias.", is_json=is_json)


@command.command(
    "chat", help=f"Ask a model.\n\nWithout PROMPT it is asked what you type, or what comes in. {MODEL_HELP}"
)
@click.argument("model")
@click.argument("prompt", nargs=-1)
@click.option("--system", metavar="TEXT", help="System prompt.")
@click.option(
    "--tools",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="JSON: a list of tools in OpenAI's form, or a training row that has some.",
)
@click.option("--temperature", type=float, metavar="T", help="0 is the most likely answer.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Most tokens of an answer.")
@host_options
@json_option
def chat(
    model: str,
    prompt: tuple[str, ...],
    system: str | None,
    tools: Path | None,
    temperature: float | None,
    max_tokens: int | None,
    base_url: str | None,
    api_key_env: str | None,
    *,
    is_json: bool,
) -> None:
    """Ask a model."""
    from langchain_core.messages import HumanMessage, SystemMessage

    from langchain_finetune.cli.chatting import answer_to, converse
    from langchain_finetune.hosts import CUSTOM, HOSTS

    settings = {} if temperature is None else {"temperature": temperature}
    asked = model_at(model, base_url, api_key_env, **settings, **given(max_tokens=max_tokens))
    host = HOSTS.get((asked.metadata or {}).get("langchain_finetune_provider", ""), CUSTOM)
    bound = asked.bind_tools(_tools(tools)) if tools else asked
    messages: list[Any] = [SystemMessage(system)] if system else []
    if not prompt and sys.stdin.isatty() and not is_json:
        converse(bound, messages, host)
        return
    messages.append(HumanMessage(" ".join(prompt) or sys.stdin.read().strip()))
    answer = answer_to(bound, messages, host, is_shown=not is_json)
    if is_json:
        told = {"text": str(answer.text), "tool_calls": answer.tool_calls, "usage": answer.usage_metadata}
        print_result({"model": asked.model_name, **told}, is_json=True)


def _tools(path: Path) -> list[Any]:
    from langchain_finetune._parsing import loads

    try:
        line = next(iter(path.read_bytes().splitlines())) if path.suffix == ".jsonl" else path.read_bytes()
        value = loads(line)
    except (ValueError, StopIteration) as e:
        msg = f"{path} is no JSON: give a list of tools, or a training row that has some."
        raise click.BadParameter(msg) from e
    found = value.get("tools") if isinstance(value, dict) else value
    if not isinstance(found, list) or not found:
        msg = f"{path} holds no tools."
        raise click.BadParameter(msg)
    return found
