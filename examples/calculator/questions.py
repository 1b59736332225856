"""What users ask the calculator: the notebook's twenty questions, more of that kind, and word problems."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from chain import Calculator

Operation = Literal["+", "-", "*", "/"]

NOTEBOOK: Final = (
    "45/9 81/9 72/8 56/7 36/6 64/8 12*6 8*8 10*10 11*11 13*13 "
    "45+30 72+28 56+44 63+37 70-35 60-30 50-25 40-20 30-15"
)
"""The sums of the LangSmith notebook."""

PLAIN: Final = "What's {a}{operation}{b}?"

WORD_PROBLEMS: Final[dict[Operation, tuple[str, ...]]] = {
    "+": (
        "{name} sold {a} {things} on Monday and {b} on Tuesday. How many in total?",
        "{name} earned {a} dollars in May and {b} dollars in June. How much altogether?",
    ),
    "-": (
        "{name} had {a} dollars and spent {b} dollars on {things}. How much is left?",
        "The stock was {a} {things} and {b} of them were sold. How many remain?",
    ),
    "*": (
        "{name} bought {a} {things} at {b} dollars each. What is the total price?",
        "{a} boxes hold {b} {things} each. How many {things} are in all the boxes?",
    ),
    "/": (
        "A bill of {a} dollars is split evenly among {b} people. How much does each pay?",
        "{name} packs {a} {things} into {b} equal boxes. How many go into each box?",
    ),
}
NAMES: Final = ("Ada", "Ben", "Carla", "Dmitri", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jonas")
THINGS: Final = (
    "chairs",
    "lamps",
    "pens",
    "books",
    "apples",
    "mugs",
    "stamps",
    "folders",
    "cables",
    "tickets",
)


@dataclass(frozen=True)
class Question:
    """A question and the sum that it means."""

    text: str
    num1: int
    num2: int
    operation: Operation

    @property
    def arguments(self) -> dict[str, Any]:
        """The right call of `Calculator`."""
        return {"num1": self.num1, "num2": self.num2, "operation": self.operation}

    @property
    def answer(self) -> float:
        """The right number."""
        return Calculator(**self.arguments).calculate()


def plain_question(text: str) -> Question:
    """Read a question of the notebook's form, "What's 45/9?"."""
    match = re.fullmatch(r"What's (\d+)([-+*/])(\d+)\?", text)
    if match is None:
        msg = f'not of the form "What\'s 45/9?": {text}'
        raise ValueError(msg)
    num1, operation, num2 = match.groups()
    return Question(text, int(num1), int(num2), operation)


def notebook_questions() -> list[Question]:
    """Return the notebook's twenty: "What's 45/9?"."""
    return [plain_question(f"What's {term}?") for term in NOTEBOOK.split()]


def all_questions(num_plain: int = 116, num_word_problems: int = 144, seed: int = 7) -> list[Question]:
    """Return the notebook's twenty and that many others, all distinct, in a seeded order."""
    rng = random.Random(seed)  # noqa: S311 - the same questions each time
    questions = {question.text: question for question in notebook_questions()}
    kinds = [*_plain_kinds(num_plain), *_word_problem_kinds(num_word_problems)]
    for operation, template in kinds:
        question = _ask(template, operation, rng)
        while question.text in questions:
            question = _ask(template, operation, rng)
        questions[question.text] = question
    return rng.sample(list(questions.values()), k=len(questions))


def _plain_kinds(count: int) -> Iterator[tuple[Operation, str]]:
    operations = tuple(WORD_PROBLEMS)
    return ((operations[index % len(operations)], PLAIN) for index in range(count))


def _word_problem_kinds(count: int) -> Iterator[tuple[Operation, str]]:
    kinds = [
        (operation, template) for operation, templates in WORD_PROBLEMS.items() for template in templates
    ]
    return (kinds[index % len(kinds)] for index in range(count))


def _ask(template: str, operation: Operation, rng: random.Random) -> Question:
    num1, num2 = _numbers(operation, rng)
    words = {"name": rng.choice(NAMES), "things": rng.choice(THINGS)}
    text = template.format(a=num1, b=num2, operation=operation, **words)
    return Question(text, num1, num2, operation)


def _numbers(operation: Operation, rng: random.Random) -> tuple[int, int]:
    """Draw numbers whose result is a whole, positive number of a size that people ask about."""
    if operation == "+":
        return rng.randint(5, 200), rng.randint(5, 200)
    if operation == "-":
        rest, taken = rng.randint(3, 120), rng.randint(3, 80)
        return rest + taken, taken
    if operation == "*":
        return rng.randint(2, 40), rng.randint(2, 60)
    divisor = rng.randint(2, 20)
    return divisor * rng.randint(2, 200 // divisor + 1), divisor
