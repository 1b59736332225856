"""Functions as metrics: your own, and those of openevals as they are."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_finetune.errors import MetricError
from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.metrics.metric import Metric, Score
from langchain_finetune.evaluators.tool_calls import Answer

_KEYWORDS: Final = ("inputs", "outputs", "reference_outputs")


@dataclass(frozen=True, kw_only=True)
class OwnMetric(Metric):
    """A function of yours, `(example, answer) -> float | bool | None | dict`, async or not.

    Or an evaluator in the form of openevals and LangSmith, a function of any of the keywords `inputs`,
    `outputs` and `reference_outputs`. These get `{"messages": [...]}` in OpenAI's form, the inputs with
    `tools` where there are any; the result's `key` and `score` count. It is called anew with every
    comparison: what it asks, it asks again.

    Raises:
        MetricError: The function failed; names the metric and the row.
    """

    name: str
    function: Callable[..., Any] = field(repr=False)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "OwnMetric":
        """Make a metric of a function, under the function's name."""
        name = getattr(function, "__name__", type(function).__name__)
        if name.startswith("_") or name == "<lambda>":
            # openevals' own makers return functions that are all called the same.
            key = (
                inspect.getclosurevars(function).nonlocals.get("feedback_key")
                if _is_plain(function)
                else None
            )
            name = key if isinstance(key, str) else name.strip("_<>")
        return cls(name=name, function=function)

    def score(self, example: Example, answer: Answer) -> Score:
        """Call the function."""
        try:
            names = _keywords_of(self.function)
            if names:
                given = {
                    name: value for name, value in _as_keywords(example, answer).items() if name in names
                }
                return _read(self.name, _finished(self.function(**given)))
            return _read(self.name, _finished(self.function(example, answer)))
        except MetricError:
            raise
        except Exception as e:
            msg = (
                f"the metric {self.name!r} failed on row {example.row}, turn {example.turn}: "
                f"{type(e).__name__}. Correct it, or return None for what it cannot measure."
            )
            raise MetricError(msg, self.name) from e


def _is_plain(function: Any) -> bool:
    return inspect.isfunction(function)


def _keywords_of(function: Callable[..., Any]) -> set[str]:
    """Return which of an evaluator's keywords a function takes; none of them for a function of one's own."""
    parameters = inspect.signature(function).parameters
    named = {name for name in _KEYWORDS if name in parameters}
    if named and any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return set(_KEYWORDS)
    return named


def _as_keywords(example: Example, answer: Answer) -> dict[str, Any]:
    inputs: dict[str, Any] = {"messages": [dict(message) for message in example.prompt]}
    if example.tools:
        inputs["tools"] = list(example.tools)
    return {
        "inputs": inputs,
        "outputs": {"messages": [answer.as_message()]},
        "reference_outputs": {"messages": [example.expected.as_message()]},
    }


def _finished(result: Any) -> Any:
    if not inspect.isawaitable(result):
        return result

    async def wait() -> Any:
        return await result

    # A notebook has a loop under way in this thread.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, wait()).result()


def _read(name: str, result: Any) -> Score:
    if isinstance(result, Mapping) and "score" in result:
        # Under its own name where it has another: one evaluator may give several.
        key = result.get("key")
        score: Score = result["score"]
        return score if key in (None, name) else {str(key): score}  # type: ignore[dict-item]
    if isinstance(result, list):
        return {str(each["key"]): each["score"] for each in result}
    return result  # type: ignore[no-any-return]
