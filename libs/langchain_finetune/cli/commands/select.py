"""`select`: recorded runs, written down as sessions."""

import click

from langchain_finetune.cli.output import fields, json_option, print_result, quiet_option
from langchain_finetune.cli.sources import (
    SOURCE_HELP,
    loader_for,
    loader_setting,
    selection_of,
    selection_options,
)


@click.command("select", help=f"Select recorded runs and write them down as sessions.\n\n{SOURCE_HELP}")
@click.argument("source")
@selection_options
@loader_setting
@quiet_option
@json_option
@click.pass_context
def command(context: click.Context, source: str, *, is_quiet: bool, is_json: bool) -> None:
    """Load the sessions."""
    from langchain_finetune.cli.talk import Talk

    with Talk(is_quiet=is_quiet) as talk:
        sessions = loader_for(source, selection_of(context)).invoke({}, talk.config)
    rejected = ", ".join(f"{count} {reason}" for reason, count in sessions.rejected_by_reason.items())
    text = fields(
        [
            ("sessions", f"{sessions.num_sessions} of {sessions.num_runs} runs"),
            ("unselected", sessions.num_unselected),
            ("rejected", f"{sessions.num_rejected} ({rejected})" if rejected else sessions.num_rejected),
            ("corrected", sessions.num_corrected or None),
            ("from", sessions.source),
            ("file", sessions.path),
        ]
    )
    print_result(sessions, text, is_json=is_json)
