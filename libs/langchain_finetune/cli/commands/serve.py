"""`serve`: run the embedded server in the foreground."""

import click

from langchain_finetune.cli.server_process import become, server_command


@click.command("serve", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def command(options: tuple[str, ...]) -> int:
    """Hand over to the server, which knows its own options."""
    return become(server_command("serve", options))
