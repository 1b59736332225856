"""`convert`: sessions to rows that a trainer accepts."""

import shutil
from pathlib import Path

import click

from langchain_finetune.cli.converting import (
    conversion_of,
    conversion_options,
    converter_for,
    converter_setting,
    data_text,
)
from langchain_finetune.cli.output import json_option, print_result, quiet_option
from langchain_finetune.handles import TrainingData


@click.command("convert")
@click.argument("sessions")
@conversion_options
@converter_setting
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Copy the files there too.",
)
@quiet_option
@json_option
@click.pass_context
def command(
    context: click.Context, sessions: str, out: Path | None, *, is_quiet: bool, is_json: bool
) -> None:
    """Convert sessions into rows that a trainer accepts: checked, redacted, split.

    SESSIONS is what `select --json` prints (`-` reads it from standard input), the path of a sessions file,
    or a source of runs as in `select`, all of which are then taken.
    """
    from langchain_finetune.cli.sources import loader_for, sessions_at
    from langchain_finetune.cli.talk import Talk

    converter = converter_for(conversion_of(context))
    with Talk(is_quiet=is_quiet) as talk:
        loaded = sessions_at(sessions) or loader_for(sessions, {}).invoke({}, talk.config)
        data = converter.invoke(loaded, talk.config)
    if out is not None:
        data = _copied(data, out)
    print_result(data, data_text(data), is_json=is_json)


def _copied(data: TrainingData, out: Path) -> TrainingData:
    """Copy the files, and return the data as they lie there."""
    from langchain_finetune.errors import StorageError

    names = ("train", "validation", "test", "report", "card")
    copies = {name: out / path.name for name in names if (path := getattr(data, name)) is not None}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, path in copies.items():
            shutil.copyfile(getattr(data, name), path)
        copied = data.model_copy(update={name: path.absolute() for name, path in copies.items()})
        (out / "training_data.json").write_text(copied.model_dump_json(indent=2) + "\n")
    except OSError as e:
        msg = f"cannot write to {out}: {e.strerror or e}. The rows lie in {data.train.parent}."
        raise StorageError(msg) from e
    return copied
