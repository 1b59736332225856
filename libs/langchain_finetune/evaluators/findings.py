"""From answers to what a person wants to know: scores, wins and losses, tables by tag, regressions. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from langchain_finetune.errors import SettingError
from langchain_finetune.evaluators import statistics
from langchain_finetune.evaluators.metrics.metric import Metric, flat
from langchain_finetune.evaluators.metrics.own import OwnMetric
from langchain_finetune.evaluators.questions import Question
from langchain_finetune.evaluators.statistics import Duel, Interval
from langchain_finetune.evaluators.tool_calls import Answer

_MOST_TAGS: Final = 50


class Kind(NamedTuple):
    """How the scores of a metric are read."""

    is_share: bool
    is_more_better: bool


@dataclass(frozen=True)
class Scored:
    """Scores of every model on every question."""

    models: tuple[str, ...]
    """The baseline first."""
    kinds: Mapping[str, Kind]
    """By the whole name of the score, in the order of the metrics."""
    scores: Mapping[str, Sequence[Mapping[str, float]]]
    """By model: one dict of scores for each question."""

    def kind(self, metric: str) -> Kind:
        """Return how a score is read.

        Raises:
            SettingError: There is no such score.
        """
        if metric not in self.kinds:
            msg = f"there is no score {metric!r}: there are {', '.join(self.kinds)}."
            raise SettingError(msg)
        return self.kinds[metric]

    def values(self, metric: str, model: str, rows: Iterable[int] | None = None) -> list[float]:
        """Return the scores of a model, without the questions of which the metric says nothing."""
        listed = self.scores[model]
        places = range(len(listed)) if rows is None else rows
        return [listed[place][metric] for place in places if metric in listed[place]]

    def paired(
        self, metric: str, model: str, other: str, rows: Iterable[int] | None = None
    ) -> list[tuple[float, float]]:
        """Return the scores of two models on the questions that have both."""
        one, two = self.scores[model], self.scores[other]
        places = range(len(one)) if rows is None else rows
        return [
            (one[place][metric], two[place][metric])
            for place in places
            if metric in one[place] and metric in two[place]
        ]

    def interval(
        self, metric: str, model: str, seed: int, rows: Sequence[int] | None = None
    ) -> Interval | None:
        """Return the mean of a metric; None where it says nothing of any question."""
        values, kind = self.values(metric, model, rows), self.kind(metric)
        return statistics.interval(values, is_share=kind.is_share, seed=seed) if values else None

    def duel(
        self, metric: str, model: str, other: str, seed: int, rows: Sequence[int] | None = None
    ) -> Duel | None:
        """Compare a model with another one; None where no question has both scores."""
        pairs, kind = self.paired(metric, model, other, rows), self.kind(metric)
        if not pairs:
            return None
        ours, theirs = zip(*pairs, strict=True)
        return statistics.duel(
            ours, theirs, is_share=kind.is_share, is_more_better=kind.is_more_better, seed=seed
        )

    def is_worse(self, metric: str, place: int, model: str, other: str) -> bool:
        """Tell whether a model did worse than another one on a question."""
        one, two = self.scores[model][place].get(metric), self.scores[other][place].get(metric)
        if one is None or two is None:
            return False
        return one < two if self.kinds[metric].is_more_better else one > two


def score(
    questions: Sequence[Question],
    answers: Mapping[str, Mapping[str, Answer]],
    metrics: Mapping[str, Sequence[Metric]],
    verdicts: Mapping[str, Mapping[str, Mapping[str, bool]]] | None = None,
) -> Scored:
    """Measure every answer of every model.

    A question without an answer counts as 0 wherever the recorded answer would have a score between 0 and 1.

    Args:
        questions: The questions.
        answers: By model, the answers by the question's key.
        metrics: By model, the metrics as they measure it.
        verdicts: By judge and model, the verdicts by the question's key.
    """
    scores = {
        model: [_scores(question, found.get(question.key), metrics[model]) for question in questions]
        for model, found in answers.items()
    }
    for judge, by_model in (verdicts or {}).items():
        for model, told in by_model.items():
            for place, question in enumerate(questions):
                if question.key in told:
                    scores[model][place][judge] = float(told[question.key])
                elif question.key not in answers[model]:
                    scores[model][place][judge] = 0.0
    return Scored(tuple(answers), _kinds(scores, metrics, verdicts or {}), scores)


def _scores(question: Question, answer: Answer | None, metrics: Sequence[Metric]) -> dict[str, float]:
    where = f" for row {question.row}, turn {question.turn}"
    found: dict[str, float] = {}
    for metric in metrics:
        if answer is not None:
            found |= flat(metric.name, metric.score(question, answer), where)
        elif metric.is_share and not isinstance(metric, OwnMetric):
            found |= dict.fromkeys(flat(metric.name, metric.score(question, question.expected), where), 0.0)
    return found


def _kinds(
    scores: Mapping[str, Sequence[Mapping[str, float]]],
    metrics: Mapping[str, Sequence[Metric]],
    judges: Iterable[str],
) -> dict[str, Kind]:
    values: dict[str, list[float]] = {}
    for listed in scores.values():
        for named in listed:
            for name, value in named.items():
                values.setdefault(name, []).append(value)
    kinds: dict[str, Kind] = {}
    for metric in next(iter(metrics.values())):
        names = [name for name in values if name == metric.name or name.startswith(f"{metric.name}.")]
        for name in names:
            is_share = metric.is_share and all(0 <= value <= 1 for value in values[name])
            kinds[name] = Kind(is_share, metric.is_more_better)
    return kinds | {name: Kind(is_share=True, is_more_better=True) for name in judges if name in values}


def tags_of(questions: Sequence[Question]) -> dict[str, list[int]]:
    """Return the places of questions by tag, the most frequent tags first."""
    places: dict[str, list[int]] = {}
    for place, question in enumerate(questions):
        for tag in question.tags:
            places.setdefault(tag, []).append(place)
    ranked = sorted(places, key=lambda tag: (-len(places[tag]), tag))
    return {tag: places[tag] for tag in ranked[:_MOST_TAGS]}


def summary(scored: Scored, questions: Sequence[Question], headline: str, seed: int) -> dict[str, Any]:
    """Return what the report tells, as JSON values.

    Args:
        scored: The scores; the first model is the baseline.
        questions: The questions.
        headline: Whole name of the score that decides.
        seed: Of the bootstrap.
    """
    baseline, *others = scored.models
    scored.kind(headline)
    return {
        "headline": headline,
        "metrics": {name: kind._asdict() for name, kind in scored.kinds.items()},
        "scores": {
            metric: {
                model: {**found._asdict(), "num": len(scored.values(metric, model))}
                for model in scored.models
                if (found := scored.interval(metric, model, seed))
            }
            for metric in scored.kinds
        },
        "duels": [
            {"metric": metric, "model": model, "against": against, **_as_json(fought)}
            for metric in scored.kinds
            for model in others
            for against in scored.models[: scored.models.index(model)]
            if (fought := scored.duel(metric, model, against, seed))
        ],
        "tags": [
            {
                "tag": tag,
                "num": len(places),
                "scores": {
                    model: found._asdict()
                    for model in scored.models
                    if (found := scored.interval(headline, model, seed, places))
                },
                "duels": {
                    model: _as_json(fought)
                    for model in others
                    if (fought := scored.duel(headline, model, baseline, seed, places))
                },
            }
            for tag, places in tags_of(questions).items()
        ],
    }


def _as_json(found: Duel) -> dict[str, Any]:
    return {**found._asdict(), "gain": found.gain._asdict()}
