"""The page: what it is made of, in the order in which a person asks."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from langchain_finetune.evaluators.html import sections
from langchain_finetune.evaluators.html.style import STYLE

if TYPE_CHECKING:
    from langchain_finetune.evaluators.report import ComparisonReport

# Whatever stands in a run, nothing is loaded and nothing runs.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page_of(report: "ComparisonReport", metrics: Sequence[Mapping[str, float]]) -> str:
    """Return a report as one HTML document.

    Args:
        report: The report; its details have to be on disk.
        metrics: The job's figures for the loss curve, as of `FineTuneJob.metrics()`.

    Raises:
        SourceNotFoundError: The details were cleaned away.
    """
    summary: dict[str, Any] = report.summary()
    title = f"{report.tuned} against {report.base}"
    parts = [
        sections.verdict(report),
        sections.scores(summary),
        sections.gains(summary),
        sections.tags(summary),
        sections.changed(report.answers(), summary),
        sections.loss(metrics),
        sections.tokens(summary),
        sections.card(summary),
        sections.lineage(report, summary),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
