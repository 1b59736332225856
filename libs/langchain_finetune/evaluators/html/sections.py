"""The parts of the page, from the report's figures. Pure but for the files that the summary names."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langchain_finetune._spool import read_jsonl
from langchain_finetune.evaluators.html.charts import Line, bar, curve, gain_bar, histogram
from langchain_finetune.evaluators.html.markdown import to_html

if TYPE_CHECKING:
    from langchain_finetune.evaluators.report import ComparisonReport

_MOST_CASES: Final = 8
_MOST_MISSES: Final = 4
_MOST_CHARACTERS: Final = 1500
_MOST_LOSSES: Final = 400
_STYLES: Final = {"baseline": "model-1", "forced": "model-3", "contender": "model-2"}
_MORE_STYLES: Final = ("model-4", "model-5")
_NUM_BINS: Final = 14


def verdict(report: "ComparisonReport") -> str:
    """Return what came out, in figures a person reads first."""
    chip = _chip(report)
    numbers = [(_figure(report.base_score), "base"), (_figure(report.tuned_score), "tuned")]
    if report.forced_score:
        numbers.insert(1, (_figure(report.forced_score), "base, forced calls"))
    if report.gain:
        mean, low, high = report.gain
        numbers.append((_signed(mean), f"gain, {_signed(low)} to {_signed(high)}"))
    numbers.append((f"{report.num_wins} / {report.num_losses} / {report.num_ties}", "wins / losses / ties"))
    shown = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in numbers
    )
    why = f'<p class="soft">{escape(report.decision.reason)}</p>' if report.decision else ""
    warnings = "".join(f'<p class="warning">{escape(text)}</p>' for text in report.warnings)
    failed = f", {report.num_failed} failed: {'; '.join(report.errors)}" if report.num_failed else ""
    return (
        f"<section><h1>{escape(report.tuned)}</h1>"
        f'<p class="soft">against {escape(report.base)}, on {report.num_held_out:,} held-out rows with '
        f"{report.num_questions:,} answers ({escape(_title(report.metric))}){escape(failed)}</p>{chip}{why}"
        f'<div class="numbers">{shown}</div>{warnings}</section>'
    )


def scores(summary: Mapping[str, Any]) -> str:
    """Return bars with intervals of every score from 0 to 1, and a table of the others."""
    styles = _styles(summary)
    models = list(styles)
    shares = [name for name, kind in summary["metrics"].items() if kind["is_share"]]
    others = [name for name in summary["metrics"] if name not in shares]
    rows = "".join(_metric(name, summary["scores"][name], styles) for name in shares)
    table = _plain_scores(others, summary, models) if others else ""
    return (
        '<section><h2>Before and after</h2><p class="soft">Means over the questions that have the score, '
        f"with 95 % intervals.</p>{_legend(styles)}{rows}{table}</section>"
    )


def gains(summary: Mapping[str, Any]) -> str:
    """Return the paired differences of every model that is compared with another one."""
    rows = []
    for duel in summary["duels"]:
        if not summary["metrics"][duel["metric"]]["is_share"] or duel["metric"] != summary["headline"]:
            continue
        gain = duel["gain"]
        rows.append(
            f'<div class="metric"><div>{escape(duel["model"])}<br><span class="soft">against '
            f'{escape(duel["against"])}</span></div><div class="row">'
            f"{gain_bar(gain['mean'], gain['low'], gain['high'])}<span>{_signed(gain['mean'])} "
            f"({_signed(gain['low'])} to {_signed(gain['high'])})</span>"
            f'<span class="soft">{duel["wins"]} wins, {duel["losses"]} losses, {duel["ties"]} ties</span>'
            "</div></div>"
        )
    if not rows:
        return ""
    return (
        '<section class="wide"><h2>Question by question</h2><p class="soft">'
        f"Differences of {escape(_title(summary['headline']))} "
        "on the same questions; right of the line is better.</p>"
        f"{''.join(rows)}</section>"
    )


def tags(summary: Mapping[str, Any]) -> str:
    """Return the headline by tag."""
    models = [model["name"] for model in summary["models"]]
    if not summary["tags"]:
        return ""
    head = "".join(f'<th class="number">{escape(name)}</th>' for name in models)
    rows = "".join(
        f'<tr><td>{escape(each["tag"])}</td><td class="number">{each["num"]:,}</td>'
        + "".join(
            f'<td class="number">{_cell(each["scores"].get(name), is_share=True)}</td>' for name in models
        )
        + "".join(
            f'<td class="number">{duel["wins"]} / {duel["losses"]} / {duel["ties"]}</td>'
            for name in models
            if (duel := each["duels"].get(name)) and name == _tuned(summary)
        )
        + "</tr>"
        for each in summary["tags"]
    )
    return (
        f'<section><h2>By kind and tag</h2><p class="soft">{escape(_title(summary["headline"]))}</p>'
        '<div class="scroll"><table><tr><th>tag</th><th class="number">questions</th>'
        f'{head}<th class="number">wins / losses / ties</th></tr>{rows}</table></div></section>'
    )


def changed(lines: Iterable[Mapping[str, Any]], summary: Mapping[str, Any]) -> str:
    """Return the worst regressions side by side, and some of the answers that are still missed."""
    headline, baseline, tuned = summary["headline"], summary["models"][0]["name"], _tuned(summary)
    sign = 1 if summary["metrics"][headline]["is_more_better"] else -1
    worse: list[tuple[float, int, Mapping[str, Any]]] = []
    missed: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines):
        ours, theirs = (line["models"][name]["scores"].get(headline) for name in (tuned, baseline))
        if ours is None or theirs is None:
            continue
        if sign * (ours - theirs) < 0:
            worse.append((sign * (ours - theirs), number, line))
        elif summary["metrics"][headline]["is_share"] and ours < 1 and len(missed) < _MOST_MISSES:
            missed.append(line)
    worse.sort(key=lambda each: each[:2])
    shown = "".join(_case(line, summary) for _, _, line in worse[:_MOST_CASES])
    more = f", the worst {_MOST_CASES} of them here" if len(worse) > _MOST_CASES else ""
    told = f"{len(worse):,} questions got worse{more}." if worse else "No question got worse."
    still = "".join(_case(line, summary) for line in missed)
    rest = f"<h3>Some that are still missed</h3>{still}" if still else ""
    return f'<section><h2>What got worse</h2><p class="soft">{told}</p>{shown}{rest}</section>'


def loss(metrics: Sequence[Mapping[str, float]]) -> str:
    """Return the loss curve of the job; empty where no figures were given."""
    names = (("train_loss", "training", "model-2"), ("valid_loss", "validation", "model-3"))
    lines = [
        Line(
            title,
            style,
            _thinned([(each["step"], each[name]) for each in metrics if "step" in each and name in each]),
        )
        for name, title, style in names
    ]
    full = [
        (each["step"], each["full_valid_loss"])
        for each in metrics
        if "full_valid_loss" in each and "step" in each
    ]
    if full:
        lines[1] = Line("validation", "model-3", full)
    drawn = curve([line for line in lines if line.points], "step")
    if not drawn:
        return ""
    legend = "".join(
        f'<span><i class="{line.style}"></i>{line.name} loss</span>' for line in lines if line.points
    )
    return f'<section><h2>Loss</h2><div class="legend">{legend}</div>{drawn}</section>'


def tokens(summary: Mapping[str, Any]) -> str:
    """Return the histogram of the rows' tokens, as the report of the training data has them."""
    path = summary["data"].get("report")
    if not path or not Path(path).exists():
        return ""
    by_row: dict[tuple[Any, Any], int] = {}
    for line in read_jsonl(Path(path)):
        if isinstance(number := line.get("tokens"), int) and line.get("row") is not None:
            key = (line.get("split"), line["row"])
            by_row[key] = max(number, by_row.get(key, 0))
    drawn = histogram(_bins(list(by_row.values())), "tokens of a row")
    return (
        f'<section><h2>Tokens of the rows</h2><p class="soft">{len(by_row):,} rows of training, validation '
        f"and test.</p>{drawn}</section>"
        if drawn
        else ""
    )


def card(summary: Mapping[str, Any]) -> str:
    """Return the card of the training data, folded."""
    path = summary["data"].get("card")
    if not path or not Path(path).exists():
        return ""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return f"<section><details><summary>Dataset card</summary>{to_html(text)}</details></section>"


def lineage(report: "ComparisonReport", summary: Mapping[str, Any]) -> str:
    """Return where all of it comes from."""
    tuned = next(model for model in summary["models"] if model["name"] == _tuned(summary))
    data = summary["data"]
    rows = {
        "tuned model": tuned["model"],
        "base": f"{tuned['provider'] or ''}:{tuned['base']}" if tuned["base"] else "",
        "job": tuned["job_id"],
        "training data": data["fingerprint"],
        "rows": ", ".join(f"{data[f'num_{split}']:,} {split}" for split in ("train", "validation", "test")),
        "recorded runs": f"{data['num_runs']:,}",
        "held-out rows": f"SHA-256 {report.test_sha256}",
        "intervals": f"95 %; seed of the bootstrap {summary['seed']}",
        **{f"judge {it['name']}": _judge(it) for it in summary["judges"]},
        **{f"experiment of {name}": url for name, url in report.experiments.items()},
    }
    shown = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items() if value
    )
    return f"<section><h2>Lineage</h2><dl>{shown}</dl></section>"


def _chip(report: "ComparisonReport") -> str:
    if report.decision:
        style, text = ("good", "promoted") if report.decision.promoted else ("bad", "kept the baseline")
    elif report.gain and report.gain[1] > 0:
        style, text = "good", "better"
    elif report.gain and report.gain[2] < 0:
        style, text = "bad", "worse"
    else:
        style, text = "unsure", "no clear difference"
    return f'<span class="chip {style}">{text}</span>'


def _metric(name: str, by_model: Mapping[str, Any], styles: Mapping[str, str]) -> str:
    rows = "".join(
        f'<div class="row">{bar(found["mean"], found["low"], found["high"], style)}'
        f"<span>{found['mean']:.1%} ({found['low']:.1%} to {found['high']:.1%})</span></div>"
        for model, style in styles.items()
        if (found := by_model.get(model))
    )
    num = max((found["num"] for found in by_model.values()), default=0)
    return (
        f'<div class="metric"><div>{escape(_title(name))}<br><span class="soft">{num:,} questions</span>'
        f"</div><div>{rows}</div></div>"
    )


def _plain_scores(names: Sequence[str], summary: Mapping[str, Any], models: Sequence[str]) -> str:
    head = "".join(f'<th class="number">{escape(model)}</th>' for model in models)
    rows = "".join(
        f"<tr><td>{escape(_title(name))}</td>"
        + "".join(
            f'<td class="number">{_cell(summary["scores"][name].get(model), is_share=False)}</td>'
            for model in models
        )
        + "</tr>"
        for name in names
    )
    return f'<div class="scroll"><table><tr><th>per answer</th>{head}</tr>{rows}</table></div>'


def _legend(styles: Mapping[str, str]) -> str:
    shown = "".join(f'<span><i class="{style}"></i>{escape(name)}</span>' for name, style in styles.items())
    return f'<div class="legend">{shown}</div>'


def _styles(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return the color of each model; baseline, forced baseline and the first tuned one have their own."""
    first, found = _tuned(summary), {}
    for index, model in enumerate(summary["models"]):
        is_further = model["role"] == "contender" and model["name"] != first
        found[model["name"]] = _MORE_STYLES[index % 2] if is_further else _STYLES[model["role"]]
    return found


def _case(line: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    headline = summary["headline"]
    names = [model["name"] for model in summary["models"] if model["role"] != "forced"]
    sides = [("recorded", line["expected"], None, "")]
    for name in names:
        found = line["models"][name]
        score = found["scores"].get(headline)
        style = "" if score is None else "hit" if score >= 1 else "miss"
        sides.append((name, found["answer"], found["error"], style))
    shown = "".join(
        f'<div class="{style}"><h4>{escape(name)}</h4><pre>{escape(_written(answer, error))}</pre></div>'
        for name, answer, error, style in sides
    )
    runs = ", ".join(islice(line["run_ids"], 3))
    where = f"row {line['row']}, turn {line['turn']}" + (f", run {runs}" if runs else "")
    return (
        f'<div class="case"><p class="soft">{escape(where)}</p>'
        f'<p class="asked">{escape(_cut(line["asked"]))}</p><div class="sides">{shown}</div></div>'
    )


def _written(answer: Mapping[str, Any] | None, error: str | None) -> str:
    if answer is None:
        return error or "(no answer)"
    functions = [call["function"] for call in answer.get("tool_calls", ())]
    calls = [f"{function['name']}({_arguments(function['arguments'])})" for function in functions]
    parts = [answer.get("content") or "", *calls, answer.get("refusal") or ""]
    return _cut("\n".join(part for part in parts if part)) or "(nothing)"


def _arguments(text: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    if not isinstance(found, dict):
        return text
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in found.items())


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} …"


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    step = max(1, len(points) // _MOST_LOSSES)
    return points[::step]


def _bins(values: Sequence[int]) -> list[tuple[str, int]]:
    if not values:
        return []
    low, high = min(values), max(values)
    width = max(1, -(-(high - low + 1) // _NUM_BINS))
    counts = [0] * ((high - low) // width + 1)
    for value in values:
        counts[(value - low) // width] += 1
    return list(_labelled(counts, low, width))


def _labelled(counts: Sequence[int], low: int, width: int) -> Iterator[tuple[str, int]]:
    for index, number in enumerate(counts):
        start = low + index * width
        yield (f"{start:,}" if width == 1 else f"{start:,}-{start + width - 1:,}"), number


def _judge(told: Mapping[str, Any]) -> str:
    has = "" if told["has_a_say"] else ", so that its scores are not used"
    return (
        f"told {told['good_told']} of {told['num_good']} recorded and {told['bad_told']} of "
        f"{told['num_bad']} corrupted answers rightly (bar {told['bar']:.0%}){has}"
    )


def _tuned(summary: Mapping[str, Any]) -> str:
    return str(next(model["name"] for model in summary["models"] if model["role"] == "contender"))


def _title(metric: str) -> str:
    return metric.replace("_", " ").replace(".", ": ")


def _cell(found: Mapping[str, float] | None, *, is_share: bool) -> str:
    if found is None:
        return ""
    mean, low, high = found["mean"], found["low"], found["high"]
    if is_share:
        return f'{mean:.1%}<br><span class="soft">{low:.1%} to {high:.1%}</span>'
    return f'{mean:.3g}<br><span class="soft">{low:.3g} to {high:.3g}</span>'


def _figure(found: tuple[float, float, float] | None) -> str:
    if found is None:
        return "-"
    return f"{found[0]:.1%}" if found[2] <= 1 else f"{found[0]:.3g}"


def _signed(value: float) -> str:
    return f"{value:+.1%}" if abs(value) <= 1 else f"{value:+.3g}"
