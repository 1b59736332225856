"""`inspect`: what is in a file, and what is wrong with it."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from langchain_finetune.cli.exits import ExitCode
from langchain_finetune.cli.file_kinds import Kind, kind_of
from langchain_finetune.cli.output import as_json, fields, json_option, print_result
from langchain_finetune.cli.sources import data_at, first_row, sessions_at

_MOST_TOLD: Final = 5


@click.command("inspect")
@click.argument("file")
@click.option("--provider", metavar="NAME", help="Whose rules rows are held to: openai if absent.")
@json_option
def command(file: str, provider: str | None, *, is_json: bool) -> int:
    """Say what is in a FILE or folder, and what is wrong with it.

    Exports of runs, recordings, sessions, training rows of every method, training data, reports and
    rejections are told apart. Nothing of what was said in them is shown: ids, names and counts. The exit code
    is 6 where there is nothing to train on.
    """
    path = Path(file)
    if not path.exists() and ":" not in file and "*" not in file:
        from langchain_finetune.errors import SourceNotFoundError

        msg = f"there is no file {file}: check the path (the working directory is {Path.cwd()})."
        raise SourceNotFoundError(msg)
    kind = kind_of(path, first_row(file))
    told, text, is_usable = _LOOKS[kind](file, provider)
    value = {"kind": kind, "usable": is_usable, **(as_json(told) if hasattr(told, "model_dump") else told)}
    print_result(value, f"{kind}: {file}\n{text}", is_json=is_json)
    return ExitCode.DONE if is_usable else ExitCode.NO_DATA


_Look = tuple[Any, str, bool]
"""What was found, as JSON and for a person, and whether it is of use."""


def _look_at_runs(file: str, _: str | None) -> _Look:
    from langchain_finetune.loaders.inspection import inspect_export

    return _runs(inspect_export(file))


def _look_at_recorded(file: str, _: str | None) -> _Look:
    from langchain_finetune.loaders.inspection import inspect_source
    from langchain_finetune.loaders.run_store import RunStore

    with RunStore(file) as store:
        return _runs(inspect_source(store))


def _look_at_sessions(file: str, _: str | None) -> _Look:
    from langchain_finetune.loaders.inspection import inspect_sessions

    handle = sessions_at(file)
    return _runs(inspect_sessions(handle.path if handle else file))


def _runs(found: Any) -> _Look:
    rejected = [
        (f"  {reason}", f"{count}: {_sentence(reason)}") for reason, count in found.rejected_by_reason.items()
    ]
    scores = [
        f"{key}: {it.num_rated} rated, mean {it.mean:.2f}, {it.num_positive} from 1 on"
        for key, it in found.feedback.items()
    ]
    text = fields(
        [
            ("chat-model runs", found.num_runs),
            ("readable", found.num_readable),
            ("rejected", sum(found.rejected_by_reason.values())),
            *rejected,
            ("own traffic", f"{found.num_own}, left out by default" if found.num_own else None),
            ("from", f"{found.first:%Y-%m-%d %H:%M} UTC" if found.first else None),
            ("to", f"{found.last:%Y-%m-%d %H:%M} UTC" if found.last else None),
            ("models", _counts(found.models)),
            ("tags", _counts(found.tags)),
            ("traces", found.num_traces or None),
            ("threads", found.num_threads or None),
            ("with tools", found.num_with_tools or None),
            ("tools called", _counts(found.tools)),
            *(("feedback", score) for score in scores),
            ("tokens", f"{found.num_tokens:,}" if found.num_tokens is not None else None),
        ]
    )
    return found, text, found.num_readable > 0


def _look_at_rows(file: str, provider: str | None) -> _Look:
    found = _inspected(file, provider)
    return found, _rows_text(found), found.num_errors == 0


def _look_at_data(file: str, provider: str | None) -> _Look:
    from langchain_finetune.cli.converting import data_text

    data = data_at(file)
    if isinstance(data, str):
        return _look_at_rows(data, provider)
    splits = {split: path for split in ("train", "validation", "test") if (path := getattr(data, split))}
    found = {
        split: _inspected(str(path), provider, data.method, is_held_out=split != "train")
        for split, path in splits.items()
    }
    texts = [data_text(data), *(f"\n{split}\n{_rows_text(it)}" for split, it in found.items())]
    is_usable = not any(it.num_errors for it in found.values())
    return {"data": data, "splits": found}, "\n".join(texts), is_usable


def _inspected(file: str, provider: str | None, method: Any = None, *, is_held_out: bool = False) -> Any:
    from langchain_finetune.hosts import HOSTS, OPENAI
    from langchain_finetune.trainers.preflight.row_inspection import inspect_rows

    if provider is not None and provider not in HOSTS:
        msg = f"there is no provider {provider!r}: known are {', '.join(HOSTS)}."
        raise click.UsageError(msg)
    host = HOSTS.get(provider or "", OPENAI)
    return inspect_rows(file, method=method, host=host, is_held_out=is_held_out)


def _rows_text(found: Any) -> str:
    told = [f"  {problem}: {problem.sentence} {problem.advice}" for problem in found.problems[:_MOST_TOLD]]
    left = found.num_errors + found.num_warnings - len(told)
    rows = fields(
        [
            ("rows", f"{found.num_rows}, {found.num_bytes / 1e6:.2f} MB"),
            ("method", found.method),
            ("messages", found.num_messages),
            ("answers trained", found.num_trained),
            ("with tools", found.num_with_tools or None),
            ("tools called", _counts(found.tools)),
            ("tokens", f"about {found.num_tokens:,}, the longest row {found.longest_tokens:,}"),
            ("problems", f"{found.num_errors} errors, {found.num_warnings} warnings"),
        ]
    )
    return "\n".join([rows, *told, *([f"  and {left} more"] if left > 0 else [])])


def _look_at_report(file: str, _: str | None) -> _Look:
    from langchain_finetune._spool import read_jsonl

    statuses, reasons, splits = Counter[str](), Counter[str](), Counter[str]()
    for line in read_jsonl(Path(file)):
        statuses[str(line.get("status", "rejected"))] += 1
        reasons.update([str(line["reason"])] if line.get("reason") else [])
        splits.update([str(line["split"])] if line.get("status") == "kept" else [])
    told = {"statuses": dict(statuses), "reasons": dict(reasons), "splits": dict(splits)}
    sentences = [(f"  {reason}", f"{count}: {_sentence(reason)}") for reason, count in reasons.most_common()]
    text = fields([*statuses.most_common(), *sentences, ("splits", _counts(splits))])
    return told, text, True


def _sentence(reason: str) -> str:
    from langchain_finetune.runs import SENTENCES, Reason

    try:
        return SENTENCES[Reason(reason)]
    except (ValueError, KeyError):
        return "see docs/errors.md"


def _counts(counts: Mapping[str, int]) -> str | None:
    return ", ".join(f"{name} ({count})" for name, count in counts.items()) or None


_LOOKS: Final[dict[Kind, Callable[[str, str | None], _Look]]] = {
    "runs": _look_at_runs,
    "recorded runs": _look_at_recorded,
    "sessions": _look_at_sessions,
    "rows": _look_at_rows,
    "training data": _look_at_data,
    "report": _look_at_report,
    "rejections": _look_at_report,
}
