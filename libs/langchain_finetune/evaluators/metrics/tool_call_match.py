"""How near the calls of an answer are to the recorded ones, in any order."""

from collections.abc import Mapping
from dataclasses import dataclass

from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.metrics.metric import Metric
from langchain_finetune.evaluators.tool_calls import Answer, ToolCall, is_json_equal, is_same_call


@dataclass(frozen=True, kw_only=True)
class ToolCallMatch(Metric):
    """Four scores; all but the first only where the recorded answer makes calls.

    | score | 1 where |
    |---|---|
    | `called` | tools are called if and only if they were |
    | `name` | the same functions are called as often; else the share of them |
    | `arguments` | every argument of every call is JSON-equal; else the share of them, missing and additional ones counted |
    | `exact` | all calls agree in name and arguments |

    Parallel calls have no order: each recorded call is held against the most similar one of its name.
    """  # noqa: E501  a table

    name: str = "tool_calls"

    def score(self, example: Example, answer: Answer) -> dict[str, float | bool | None]:
        """Return the four scores."""
        expected, given = example.expected.calls, answer.calls
        called = bool(expected) == bool(given)
        if not expected:
            return {"called": called}
        pairs = _paired(expected, given)
        most = max(len(expected), len(given))
        return {
            "called": called,
            "name": len(pairs) / most,
            "arguments": _share_of_arguments(expected, given, pairs),
            "exact": len(given) == len(expected) == sum(is_same_call(*pair) for pair in pairs),
        }


def _paired(expected: tuple[ToolCall, ...], given: tuple[ToolCall, ...]) -> list[tuple[ToolCall, ToolCall]]:
    """Pair calls of the same name, the most similar first."""
    ranked = sorted(
        (
            (-_equal_arguments(one, other)[0], index, place)
            for index, one in enumerate(expected)
            for place, other in enumerate(given)
            if one.name == other.name
        ),
    )
    used: set[int] = set()
    taken: set[int] = set()
    pairs = []
    for _, index, place in ranked:
        if index not in used and place not in taken:
            used.add(index)
            taken.add(place)
            pairs.append((expected[index], given[place]))
    return pairs


def _share_of_arguments(
    expected: tuple[ToolCall, ...],
    given: tuple[ToolCall, ...],
    pairs: list[tuple[ToolCall, ToolCall]],
) -> float:
    equal = total = 0
    for pair in pairs:
        num_equal, num = _equal_arguments(*pair)
        equal, total = equal + num_equal, total + num
    paired = [id(call) for pair in pairs for call in pair]
    total += sum(_num_arguments(call) for call in (*expected, *given) if id(call) not in paired)
    return equal / total


def _equal_arguments(left: ToolCall, right: ToolCall) -> tuple[int, int]:
    """Return how many arguments of two calls are equal, and how many there are; a call without any is one."""
    one, other = left.arguments, right.arguments
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)) or not (one or other):
        return int(is_json_equal(one, other)), max(_num_arguments(left), _num_arguments(right))
    equal = sum(key in other and is_json_equal(value, other[key]) for key, value in one.items())
    return equal, len(one.keys() | other.keys())


def _num_arguments(call: ToolCall) -> int:
    return max(1, len(call.arguments)) if isinstance(call.arguments, Mapping) else 1
