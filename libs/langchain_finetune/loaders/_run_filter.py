"""LangSmith's query language tried on one run: what the server does with a filter, for runs that lie here.

Conditions on pairs (`metadata_key` and `metadata_value`, and so for `input`, `output` and `feedback`) that
stand directly in one `and` hold for one and the same pair, as LangSmith asks for them to be written:

```text
and(eq(feedback_key, "user_score"), gte(feedback_score, 0.9))
```

An `and` without a key of its own, an `or` or a `not` inside of it speak of that pair too. Everywhere else a
condition on a pair holds where any pair fulfils it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

from langchain_finetune.loaders._filter_language import Combination, Condition, Expression, Family, parse
from langchain_finetune.loaders._selection import instant
from langchain_finetune.runs import feedback_of, metadata_of, run_id_of, trace_id_of
from langchain_finetune.runs.envelope import mapping, thread_id_of, usage_of

__all__ = ["RunFilter"]

_DEPTH: Final = 30


class RunFilter:
    """A filter, parsed once and tried on any number of runs.

    Args:
        text: The filter.
        name: What it is called in an error.

    Raises:
        SelectionError: It is not of LangSmith's query language; names the position.
    """

    def __init__(self, text: str, name: str = "filter") -> None:
        self._expression = parse(text, name)

    def matches(self, run: Mapping[str, Any]) -> bool:
        """Say whether a run fulfils the filter; its feedback is what `feedback_stats` has."""
        return _holds(self._expression, _View(run), {})


class _Pair(NamedTuple):
    key: str
    value: Any


_Bound = Mapping[Family, _Pair]


def _holds(expression: Expression, view: "_View", bound: _Bound) -> bool:
    if isinstance(expression, Condition):
        return _is_met(expression, view, bound)
    if expression.word == "not":
        return not _holds(expression.parts[0], view, bound)
    if expression.word == "or":
        return any(_holds(part, view, bound) for part in expression.parts)
    return _all_hold(expression, view, bound)


def _all_hold(expression: Combination, view: "_View", bound: _Bound) -> bool:
    on_pairs: dict[Family, list[Condition]] = {}
    others: list[Expression] = []
    for part in expression.parts:
        family = part.family if isinstance(part, Condition) else None
        if isinstance(part, Condition) and family is not None:
            on_pairs.setdefault(family, []).append(part)
        else:
            others.append(part)
    # What costs least first: a model's run may have thousands of pairs in its inputs.
    if not all(_is_met(part, view, bound) for part in others if isinstance(part, Condition)):
        return False
    nested = [part for part in others if isinstance(part, Combination)]
    candidates: dict[Family, list[_Pair]] = {}
    for family, conditions in on_pairs.items():
        found = [pair for pair in view.scope(family, conditions, bound) if _fits(pair, conditions)]
        if not found:
            return False
        candidates[family] = found
    return not nested or _any_choice(nested, view, dict(bound), list(candidates.items()))


def _any_choice(
    nested: Sequence[Expression], view: "_View", bound: _Bound, open_: Sequence[tuple[Family, list[_Pair]]]
) -> bool:
    """Say whether some choice of one pair for each family fulfils the nested conditions."""
    if not open_:
        return all(_holds(part, view, bound) for part in nested)
    (family, pairs), *rest = open_
    return any(_any_choice(nested, view, {**bound, family: pair}, rest) for pair in pairs)


def _fits(pair: _Pair, conditions: Sequence[Condition]) -> bool:
    return all(_compare(each, pair.key if each.is_on_key else pair.value) for each in conditions)


def _is_met(condition: Condition, view: "_View", bound: _Bound) -> bool:
    if (family := condition.family) is not None:
        pairs = [bound[family]] if family in bound else view.pairs(family)
        return any(_fits(pair, [condition]) for pair in pairs)
    if not condition.field:
        wanted = condition.value.casefold()
        return any(wanted in text.casefold() for text in view.texts())
    if condition.field == "tags":
        wanted_tags = condition.value if condition.comparator == "in" else (condition.value,)
        return any(tag in view.tags for tag in wanted_tags)
    if condition.field == "metadata":
        missing = object()
        metadata = metadata_of(view.run)
        return all(_is_same(metadata.get(key, missing), value) for key, value in condition.value)
    return _compare(condition, view.field(condition.field))


def _compare(condition: Condition, found: Any) -> bool:
    wanted = condition.value
    match condition.comparator:
        case "eq":
            return _is_same(found, wanted)
        case "neq":
            return not _is_same(found, wanted)
        case "in":
            return any(_is_same(found, each) for each in wanted)
        case "search":
            return isinstance(found, str) and wanted.casefold() in found.casefold()
        case word:
            return _is_ordered(word, found, wanted)


def _is_same(found: Any, wanted: Any) -> bool:
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted or (isinstance(wanted, str) and json.dumps(found) == wanted)
    if isinstance(wanted, str) and isinstance(found, int | float):
        return str(found) == wanted  # LangSmith keeps the values of metadata as text
    return bool(found == wanted)


_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": lambda found, wanted: found > wanted,
    "gte": lambda found, wanted: found >= wanted,
    "lt": lambda found, wanted: found < wanted,
    "lte": lambda found, wanted: found <= wanted,
}


def _is_ordered(word: str, found: Any, wanted: Any) -> bool:
    is_number = [isinstance(each, int | float) and not isinstance(each, bool) for each in (found, wanted)]
    is_text = [isinstance(each, str) for each in (found, wanted)]
    return (all(is_number) or all(is_text)) and _ORDERS[word](found, wanted)


class _View:
    """A run as the query language sees it; what is costly is made when it is asked for."""

    def __init__(self, run: Mapping[str, Any]) -> None:
        self.run = run
        self._pairs: dict[Family, list[_Pair]] = {}

    @cached_property
    def tags(self) -> list[Any]:
        tags = self.run.get("tags")
        return tags if isinstance(tags, list) else []

    def field(self, name: str) -> Any:
        """Return a field of the run; None where it has none."""
        return _FIELDS[name](self.run) if name in _FIELDS else self.run.get(name)

    def scope(self, family: Family, conditions: Sequence[Condition], bound: _Bound) -> list[_Pair]:
        """Return the pairs that conditions of one `and` may be about."""
        if family in bound and not any(each.is_on_key for each in conditions):
            return [bound[family]]
        return self.pairs(family)

    def pairs(self, family: Family) -> list[_Pair]:
        """Return the pairs of a family."""
        if family not in self._pairs:
            self._pairs[family] = list(self._read_pairs(family))
        return self._pairs[family]

    def _read_pairs(self, family: Family) -> Iterator[_Pair]:
        if family == "feedback":
            yield from (_Pair(key, score) for key, score in feedback_of(self.run).items())
        elif family == "metadata":
            yield from (_Pair(key, value) for key, value in metadata_of(self.run).items())
        else:
            yield from _leaves(mapping(self.run.get(f"{family}s")))

    def texts(self) -> Iterator[str]:
        """Yield the texts of inputs and outputs, the name and the error."""
        for family in ("input", "output"):
            yield from (pair.value for pair in self.pairs(family) if isinstance(pair.value, str))
        yield from (text for text in (self.run.get("name"), self.run.get("error")) if isinstance(text, str))


def _leaves(record: Mapping[str, Any]) -> Iterator[_Pair]:
    """Yield what a record holds, under dotted keys; elements of a list have the key of the list.

    A key names a record or list as well as a value: `eq(input_key, "messages")`.
    """
    stack: list[tuple[str, Any, int]] = [("", record, 0)]
    while stack:
        key, value, depth = stack.pop()
        if isinstance(value, dict) and depth < _DEPTH:
            stack += [
                (f"{key}.{name}" if key else str(name), each, depth + 1) for name, each in value.items()
            ]
        elif isinstance(value, list) and depth < _DEPTH:
            stack += [(key, each, depth + 1) for each in value]
        if key:
            yield _Pair(key, None if isinstance(value, dict | list) else value)


def _latency(run: Mapping[str, Any]) -> float | None:
    start, end = instant(run.get("start_time")), instant(run.get("end_time"))
    return None if start is None or end is None else end - start


def _execution_order(run: Mapping[str, Any]) -> Any:
    # Today's tracers do not send it; `eq(execution_order, 1)` is the old way to ask for roots.
    order = run.get("execution_order")
    return 1 if order is None and not run.get("parent_run_id") else order


def status_of(run: Mapping[str, Any]) -> str:
    """Return `error`, `success` or `pending`; what the run says itself comes first."""
    status = run.get("status")
    if isinstance(status, str) and status:
        return status
    if run.get("error"):
        return "error"
    return "success" if run.get("end_time") else "pending"


def tokens_of(run: Mapping[str, Any]) -> dict[str, int]:
    """Return the run's token counts as LangSmith derives them from what a tracer sends."""
    outputs = mapping(run.get("outputs"))
    usage = usage_of(
        run,
        metadata_of(run).get("usage_metadata"),
        mapping(outputs.get("llm_output")).get("token_usage"),
        outputs.get("usage_metadata"),
        outputs.get("usage"),
    )
    return usage or {}


_FIELDS: Final[dict[str, Callable[[Mapping[str, Any]], Any]]] = {
    "id": run_id_of,
    "trace_id": trace_id_of,
    "thread_id": lambda run: thread_id_of(run, metadata_of(run)),
    "is_root": lambda run: not run.get("parent_run_id"),
    "start_time": lambda run: instant(run.get("start_time")),
    "end_time": lambda run: instant(run.get("end_time")),
    "latency": _latency,
    "status": status_of,
    "error": lambda run: run.get("error") or None,
    "total_tokens": lambda run: tokens_of(run).get("total_tokens"),
    "execution_order": _execution_order,
}
