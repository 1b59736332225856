"""A comparison from its first question to its report: rounds of questions, then figures, then files."""

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.language_models import BaseChatModel

from langchain_finetune._spool import Spool, address_of, read_jsonl, sha256_of, write_json
from langchain_finetune.errors import TrainingDataError
from langchain_finetune.evaluators._asking import Outcome, Round, Rounds
from langchain_finetune.evaluators._store import AnswerStore
from langchain_finetune.evaluators.adapter_check import adapter_warning, check_adapter, differs, is_base_of
from langchain_finetune.evaluators.contenders import (
    Contender,
    base_of,
    contender_of,
    held_out_of,
    is_forcible,
    name_of,
    test_file_of,
)
from langchain_finetune.evaluators.findings import Scored, score, summary
from langchain_finetune.evaluators.judging import Bench
from langchain_finetune.evaluators.metrics.exact import Exact
from langchain_finetune.evaluators.metrics.judge import Judge
from langchain_finetune.evaluators.metrics.metric import Metric
from langchain_finetune.evaluators.questions import Batch, Question, origins_from, questions_from, token_limit
from langchain_finetune.evaluators.report import ComparisonReport
from langchain_finetune.handles import OWN_TRAFFIC_KEY, TrainingData

_MOST_ERRORS: Final = 5
_MOST_ROWS: Final = 100
_ERROR_LENGTH: Final = 300
_TEXT_LENGTH: Final = 200_000
_EXACT: Final = Exact()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be compared, and how."""

    models: Mapping[str, BaseChatModel]
    """By their names in tables."""
    baseline: BaseChatModel | None
    metrics: tuple[Metric | Judge, ...]
    data: TrainingData | None
    forces_baseline: bool | None
    checks_adapter: bool
    seed: int


@dataclass
class Trial:
    """A comparison under way."""

    plan: Plan
    contenders: list[Contender]
    """The baseline first: it is the one that people wait to see beaten. The forced one next."""
    questions: list[Question]
    data: TrainingData
    test_sha256: str
    limit: int
    """Most tokens of an answer."""
    started: float
    benches: list[Bench] = field(default_factory=list)
    is_adapter_loaded: bool | None = None

    @classmethod
    def of(cls, plan: Plan) -> "Trial":
        """Prepare a comparison."""
        started = time.monotonic()
        models = dict(plan.models)
        data = plan.data or held_out_of(list(models.values()))
        test = test_file_of(data)
        origins = origins_from(read_jsonl(data.report)) if data.report and data.report.exists() else {}
        questions = questions_from(read_jsonl(test), origins)
        limit = token_limit(questions)
        contenders = _contenders(plan, models, questions, limit)
        return cls(plan, contenders, questions, data, sha256_of(test), limit, started)

    @property
    def tuned(self) -> Contender:
        """The first model that is compared with the baseline."""
        return next(each for each in self.contenders if each.role == "contender")

    @property
    def forced(self) -> Contender | None:
        """The baseline with forced calls."""
        return next((each for each in self.contenders if each.role == "forced"), None)

    def rounds(self, store: AnswerStore) -> Rounds[ComparisonReport]:
        """Ask what is not answered yet, and return the report."""
        for contender in self.contenders:
            contender.answers.update(store.answers(contender.sheet))
        for contender in self.contenders:
            for batch in contender.open_batches(self.questions):
                yield self._round(contender, batch, store)
        self._complete_forced()
        self.contenders = [each for each in self.contenders if each.role != "forced" or not _is_refused(each)]
        for contender in self.contenders:
            contender.require_an_answer()
        baseline = self.contenders[0]
        if self.plan.checks_adapter and is_base_of(baseline, self.tuned) and self.data.train.exists():
            keys = [question.key for question in self.questions]
            self.is_adapter_loaded = differs(baseline, self.tuned, keys) or (
                yield from check_adapter(baseline, self.tuned, self.data, self.limit, store)
            )
        for judge in (metric for metric in self.plan.metrics if isinstance(metric, Judge)):
            self.benches.append(Bench.of(judge))
            yield from self.benches[-1].rounds(self.questions, self.contenders, store)
        return self._report()

    def _round(self, contender: Contender, batch: Batch, store: AnswerStore) -> Round:
        asked = contender.asked(self.questions)

        def take(index: int, outcome: Outcome) -> Mapping[str, Any]:
            contender.take(batch.questions[index].key, outcome, store)
            done = sum(key in contender.answers or key in contender.errors for key in asked)
            return {"done": done, "total": len(asked), "model": contender.name}

        return Round(
            contender.bound_to(batch, self.limit),
            [question.messages for question in batch.questions],
            take,
            contender.marks,
        )

    def _complete_forced(self) -> None:
        """Where nothing can be forced, the forced baseline is the baseline."""
        if forced := self.forced:
            for question in self.questions:
                if not is_forcible(question) and question.key in self.contenders[0].answers:
                    forced.answers[question.key] = self.contenders[0].answers[question.key]

    def _report(self) -> ComparisonReport:
        scored = self._scored()
        found = summary(scored, self.questions, self._headline(scored), self.plan.seed) | self._lineage()
        with Spool("comparisons") as spool:
            answers, regressions = spool.writer("answers.jsonl"), spool.writer("regressions.jsonl")
            for line in self._answer_lines(scored):
                answers.write(line)
            for line in self._regression_lines(scored, found["headline"]):
                regressions.write(line)
            directory = spool.publish(
                address_of(
                    {"answers": answers.sha256, "test": self.test_sha256, "headline": found["headline"]}
                )
            )
        write_json(directory / "summary.json", found)
        report = self._handle(found).model_copy(update={"directory": directory})
        report.save()
        return report

    def _headline(self, scored: Scored) -> str:
        names = list(scored.kinds)
        for metric in self.plan.metrics:
            for name in names:
                if name == metric.name or name.startswith(f"{metric.name}."):
                    return name
        msg = "no metric says anything of the held-out rows: give one that suits them, such as 'exact'."
        raise TrainingDataError(msg)

    def _scored(self) -> Scored:
        plain = [metric for metric in self.plan.metrics if isinstance(metric, Metric)]
        return score(
            self.questions,
            {each.name: each.answers for each in self.contenders},
            {
                each.name: [
                    metric.for_model(name_of(each.model), each.metadata.get("langchain_finetune_provider"))
                    for metric in plain
                ]
                for each in self.contenders
            },
            {bench.judge.name: bench.verdicts for bench in self.benches if bench.has_a_say},
        )

    def _handle(self, found: Mapping[str, Any]) -> ComparisonReport:
        base, tuned, forced = self.contenders[0], self.tuned, self.forced
        hits = {each.name: self._hits(each) for each in self.contenders}
        total = len(self.questions)
        rows = {question.row for question in self.questions}
        missed = {
            question.row for place, question in enumerate(self.questions) if place not in hits[tuned.name]
        }
        lost = {self.questions[place].row for place in hits[base.name] - hits[tuned.name]}
        errors = [*(error for each in self.contenders for error in each.errors.values())]
        errors += [error for bench in self.benches for error in bench.contender.errors.values()]
        headline, duel = found["headline"], _duel(found, tuned.name, base.name)
        scores = found["scores"][headline]
        return ComparisonReport(
            base=base.name,
            tuned=tuned.name,
            num_held_out=len(rows),
            num_questions=total,
            base_exact=len(hits[base.name]) / total,
            tuned_exact=len(hits[tuned.name]) / total,
            forced_exact=len(hits[forced.name]) / total if forced else None,
            metric=headline,
            base_score=_bounds(scores.get(base.name)),
            tuned_score=_bounds(scores.get(tuned.name)),
            forced_score=_bounds(scores.get(forced.name)) if forced else None,
            gain=_bounds(duel["gain"]) if duel else None,
            num_wins=duel["wins"] if duel else 0,
            num_losses=duel["losses"] if duel else 0,
            num_ties=duel["ties"] if duel else 0,
            tuned_misses=tuple(sorted(missed))[:_MOST_ROWS],
            regressions=tuple(sorted(lost))[:_MOST_ROWS],
            num_asked=sum(
                each.num_asked for each in [*self.contenders, *(it.contender for it in self.benches)]
            ),
            num_failed=len(errors),
            errors=tuple(dict.fromkeys(_told(error) for error in errors))[:_MOST_ERRORS],
            warnings=tuple(found["warnings"]),
            is_adapter_loaded=self.is_adapter_loaded,
            test=test_file_of(self.data),
            test_sha256=self.test_sha256,
            seconds=round(time.monotonic() - self.started, 3),
            job_id=tuned.metadata.get(OWN_TRAFFIC_KEY)
            if tuned.metadata.get("langchain_finetune_base")
            else None,
        )

    def _hits(self, contender: Contender) -> set[int]:
        return {
            place
            for place, question in enumerate(self.questions)
            if question.key in contender.answers and _EXACT.score(question, contender.answers[question.key])
        }

    def _lineage(self) -> dict[str, Any]:
        names = ("provider", "base", "data")
        return {
            "models": [
                {
                    "name": each.name,
                    "role": each.role,
                    "model": name_of(each.model),
                    "num_answers": sum(question.key in each.answers for question in self.questions),
                    "num_failed": len(each.errors),
                    "job_id": each.metadata.get(OWN_TRAFFIC_KEY) if each.role == "contender" else None,
                    **{name: each.metadata.get(f"langchain_finetune_{name}") for name in names},
                }
                for each in self.contenders
            ],
            "judges": [
                {
                    "name": it.judge.name,
                    "bar": it.judge.bar,
                    "has_a_say": it.has_a_say,
                    **it.calibration._asdict(),
                }
                for it in self.benches
            ],
            "data": self.data.model_dump(mode="json"),
            "test_sha256": self.test_sha256,
            "num_questions": len(self.questions),
            "seed": self.plan.seed,
            "warnings": self._warnings(),
        }

    def _warnings(self) -> list[str]:
        found = [text for bench in self.benches for text in bench.warnings()]
        if self.is_adapter_loaded is False:
            found.insert(0, adapter_warning(self.contenders[0].name, self.tuned.name))
        return found

    def _answer_lines(self, scored: Scored) -> Generator[dict[str, Any], None, None]:
        for place, question in enumerate(self.questions):
            models = {}
            for each in self.contenders:
                answer, error = each.answers.get(question.key), each.errors.get(question.key)
                models[each.name] = {
                    "answer": answer.as_message() if answer else None,
                    "error": _told(error) if error else None,
                    "scores": scored.scores[each.name][place],
                }
            yield {
                **_place(question),
                "asked": _last_said(question),
                "expected": question.expected.as_message(),
                "models": models,
            }

    def _regression_lines(self, scored: Scored, headline: str) -> Generator[dict[str, Any], None, None]:
        baseline = self.contenders[0].name
        for each in self.contenders:
            if each.role != "contender":
                continue
            for place, question in enumerate(self.questions):
                if scored.is_worse(headline, place, each.name, baseline):
                    yield {
                        **_place(question),
                        "model": each.name,
                        "metric": headline,
                        "score": scored.scores[each.name][place][headline],
                        "baseline_score": scored.scores[baseline][place][headline],
                    }


def _contenders(
    plan: Plan, models: dict[str, BaseChatModel], questions: Sequence[Question], limit: int
) -> list[Contender]:
    baseline = plan.baseline or next((base for model in models.values() if (base := base_of(model))), None)
    if baseline is None and len(models) > 1:
        first = next(iter(models))
        baseline, first_name = models.pop(first), first
    elif baseline is None:
        name = name_of(next(iter(models.values())))
        msg = f"the metadata of {name} names no base: give one, ModelComparison(baseline=...)."
        raise TrainingDataError(msg)
    else:
        first_name = name_of(baseline)
    if first_name in models:
        first_name = f"{first_name} (baseline)"
    found = [contender_of(first_name, baseline, limit, "baseline")]
    wants_forced = found[0].is_local if plan.forces_baseline is None else plan.forces_baseline
    if wants_forced and hasattr(baseline, "root_client") and any(map(is_forcible, questions)):
        found.append(contender_of(f"{first_name} (forced calls)", baseline, limit, "forced"))
    return [*found, *(contender_of(name, model, limit) for name, model in models.items())]


def _is_refused(contender: Contender) -> bool:
    """Tell whether a host that cannot force calls refused every forced question."""
    return bool(contender.errors) and contender.num_asked == len(contender.errors)


def _place(question: Question) -> dict[str, Any]:
    return {
        "row": question.row,
        "turn": question.turn,
        "run_ids": list(question.run_ids),
        "tags": list(question.tags),
    }


def _last_said(question: Question) -> str:
    content = question.prompt[-1].get("content") if question.prompt else ""
    parts = content if isinstance(content, list) else [{"text": content}]
    said = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return "\n".join(text for text in said if isinstance(text, str))[:_TEXT_LENGTH]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_ERROR_LENGTH]


def _bounds(found: Mapping[str, float] | None) -> tuple[float, float, float] | None:
    return (found["mean"], found["low"], found["high"]) if found else None


def _duel(found: Mapping[str, Any], model: str, against: str) -> Mapping[str, Any] | None:
    return next(
        (
            each
            for each in found["duels"]
            if (each["metric"], each["model"], each["against"]) == (found["headline"], model, against)
        ),
        None,
    )
