"""Judges at work: first the controls, then the answers. Verdicts are kept like answers."""

import hashlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.runnables import RunnableConfig

from langchain_finetune.evaluators._asking import Outcome, Round
from langchain_finetune.evaluators._store import AnswerStore
from langchain_finetune.evaluators.contenders import Contender, contender_of
from langchain_finetune.evaluators.metrics.judge import Calibration, Control, Judge, calibration, controls
from langchain_finetune.evaluators.questions import Question

_MAX_TOKENS = 1024
"""Of a verdict: room for a judge that thinks aloud."""


@dataclass
class Bench:
    """One judge, and what it said."""

    judge: Judge
    contender: Contender
    calibration: Calibration = field(default_factory=lambda: Calibration(0, 0, 0, 0))
    verdicts: dict[str, dict[str, bool]] = field(default_factory=dict)
    """By model, the verdicts by the question's key."""

    @classmethod
    def of(cls, judge: Judge) -> "Bench":
        """Call a judge in."""
        return cls(judge, contender_of(judge.name, judge.model, _MAX_TOKENS))

    @property
    def has_a_say(self) -> bool:
        """Whether the judge told enough of the controls rightly."""
        return self.calibration.share >= self.judge.bar

    def rounds(
        self, questions: Sequence[Question], contenders: Sequence[Contender], store: AnswerStore
    ) -> Generator[Round, None, None]:
        """Ask for the controls and, where the judge has a say, for every answer of every model."""
        self.contender.answers.update(store.answers(self.contender.sheet))
        made = controls(questions, self.judge.num_controls)
        prompts = [self.judge.prompt(control.example, control.answer) for control in made]
        yield from self._asked(prompts, f"{self.judge.name} (controls)", store)
        self.calibration = calibration(self._told(made, prompts))
        if not self.has_a_say:
            return
        for contender in contenders:
            given = {
                question.key: self.judge.prompt(question, contender.answers[question.key])
                for question in questions
                if question.key in contender.answers
            }
            yield from self._asked(list(given.values()), f"{self.judge.name} on {contender.name}", store)
            said = {key: self._verdict(prompt) for key, prompt in given.items()}
            self.verdicts[contender.name] = {key: it for key, it in said.items() if it is not None}

    def warnings(self) -> list[str]:
        """Return what is to be said of the judge."""
        if self.has_a_say:
            return []
        told = self.calibration
        text = (
            f"the judge {self.judge.name!r} has no say: it told {told.good_told} of {told.num_good} recorded "
            f"answers and {told.bad_told} of {told.num_bad} corrupted ones rightly, fewer than "
            f"{self.judge.bar:.0%} of each. Take a stronger model, or other criteria."
        )
        return [text]

    def _told(self, made: Sequence[Control], prompts: Sequence[str]) -> list[tuple[Control, bool | None]]:
        return [(control, self._verdict(prompt)) for control, prompt in zip(made, prompts, strict=True)]

    def _verdict(self, prompt: str) -> bool | None:
        answer = self.contender.answers.get(_key(prompt))
        return self.judge.verdict(answer.text) if answer else None

    def _asked(self, prompts: Sequence[str], label: str, store: AnswerStore) -> Generator[Round, None, None]:
        keys = {_key(prompt): prompt for prompt in prompts}
        open_keys = [key for key in keys if key not in self.contender.answers]
        num_done = len(keys) - len(open_keys)

        def take(index: int, outcome: Outcome) -> Mapping[str, Any]:
            nonlocal num_done
            num_done += 1
            self.contender.take(open_keys[index], outcome, store)
            return {"done": num_done, "total": len(keys), "model": label}

        if open_keys:
            model = self.contender.model
            yield Round(model, [keys[key] for key in open_keys], take, self._marks)

    def _marks(self, config: RunnableConfig) -> RunnableConfig:
        return self.contender.marks(config)


def _key(prompt: str) -> str:
    return hashlib.sha256(prompt.encode(errors="replace")).hexdigest()
