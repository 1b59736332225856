"""A conversation with a model in a terminal, or one answer for a script."""

import sys
from collections.abc import Iterator
from typing import Any

import click

from langchain_finetune.hosts import Host

_PROMPT = "> "


def answer_to(model: Any, messages: list[Any], host: Host, *, is_shown: bool) -> Any:
    """Ask a model, show the answer as it comes, and return it whole.

    Args:
        model: The chat model, with its tools.
        messages: The conversation so far.
        host: Where the model is.
        is_shown: Whether the answer is printed.

    Raises:
        HostError: The host refused, or cannot be reached.
    """
    whole: Any = None
    for chunk in _told_as_ours(model.stream(messages), host):
        whole = chunk if whole is None else whole + chunk
        if is_shown and (text := str(chunk.text)):
            sys.stdout.write(text)
            sys.stdout.flush()
    if is_shown:
        calls = [f"{call['name']}({_arguments(call['args'])})" for call in whole.tool_calls]
        is_open = bool(str(whole.text))
        click.echo(("\n" if is_open and calls else "") + "\n".join(calls))
    return whole


def _told_as_ours(chunks: Iterator[Any], host: Host) -> Iterator[Any]:
    """Hand chunks on, and tell the client's errors as this package's."""
    import openai

    from langchain_finetune.trainers.hosts.openai_protocol import host_error

    try:
        yield from chunks
    except openai.OpenAIError as e:
        raise host_error(e, host) from e


def converse(model: Any, messages: list[Any], host: Host) -> None:
    """Ask what a person types, until the end of the input; an interrupt ends the answer under way."""
    from langchain_core.messages import HumanMessage

    for line in _lines():
        messages.append(HumanMessage(line))
        try:
            whole = answer_to(model, messages, host, is_shown=True)
        except KeyboardInterrupt:
            click.echo("", err=True)
            messages.pop()
            continue
        messages.append(whole)


def _lines() -> Iterator[str]:
    _use_history()
    while True:
        try:
            line = input(_PROMPT)
        except EOFError:
            click.echo("")
            return
        if line.strip():
            yield line


def _use_history() -> None:
    try:
        import readline  # noqa: F401  is in effect by being imported, where the system has it
    except ImportError:
        return


def _arguments(arguments: dict[str, Any]) -> str:
    import json

    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
