"""Rows as people and machines get them wrong: good ones with a few changes, for property tests."""

import copy
from typing import Any

from hypothesis import strategies as st

from tests.fakes.training_rows import TOOL, call, graded_row, preference_row

Row = dict[str, Any]
_IMAGE = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}


def good_rows() -> list[Row]:
    """Supervised rows of many kinds that break no rule."""
    hi, ok = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "ok"}
    asks = {"role": "assistant", "content": None, "tool_calls": [call(call_id="a"), call(call_id="b")]}
    told = [{"role": "tool", "content": "5", "tool_call_id": it} for it in ("a", "b")]
    legacy = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    parts = [{"type": "text", "text": "what is it?"}, _IMAGE]
    return [
        {"messages": [hi, ok]},
        {"messages": [{"role": "system", "content": "s", "name": "n"}, hi, ok, hi, {**ok, "weight": 1}]},
        {"messages": [hi, asks, *told, ok], "tools": [TOOL], "parallel_tool_calls": True},
        {"messages": [hi, asks], "tools": [TOOL]},
        {"messages": [hi, legacy, {"role": "function", "name": "f", "content": "5"}, ok]},
        {"messages": [hi, legacy], "functions": [{"name": "f", "parameters": {"type": "object"}}]},
        {"messages": [{"role": "user", "content": parts}, ok]},
        {"messages": [hi, {"role": "assistant", "content": [{"type": "text", "text": "ok"}]}]},
        {"messages": [hi, {"role": "assistant", "refusal": "no"}, hi, ok]},
    ]


def good_rows_of(method: str) -> list[Row]:
    """Rows of a method that break no rule."""
    others = {"dpo": [preference_row(1)], "reinforcement": [graded_row(1)]}
    return others.get(method) or good_rows()


_VALUES = st.sampled_from(
    [
        *(
            None,
            True,
            0,
            1,
            2,
            1.5,
            "",
            "x",
            "f g",
            "a" * 65,
            "Calculator",
            "f",
            "{}",
            "{",
            "[]",
            '{"num1": 1}',
        ),
        *("a", "b", "<|im_end|>", "see <|fim_prefix|> here", "<|odd|>", '{"x": "<|endoftext|>"}'),
        *("system", "user", "assistant", "tool", "function", "developer"),
        *(
            "text",
            "refusal",
            "image_url",
            "input_audio",
            "file",
            "https://x/b.png",
            "data:image/gif;base64,AA",
        ),
        *([], {}, [{}], [None], ["x"], [_IMAGE], [_IMAGE] * 11, [TOOL] * 2, [TOOL] * 129),
        *([call()], [call(name="f")], [call(arguments="{")], [{"type": "text", "text": "t"}]),
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ok"},
        {"role": "tool", "content": "5", "tool_call_id": "a"},
    ]
)
_KEYS = st.sampled_from(
    [
        *("messages", "tools", "functions", "parallel_tool_calls", "role", "content", "name", "weight"),
        *("tool_calls", "tool_call_id", "function_call", "refusal", "audio", "type", "function", "id", "x"),
        *("arguments", "parameters", "text", "image_url", "url", "detail", "description", "strict"),
    ]
)


def _containers(value: Any) -> list[Any]:
    """All objects and lists in a value that have something in them."""
    found = [value] if isinstance(value, dict | list) and value else []
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return found + [inner for child in children for inner in _containers(child)]


@st.composite
def mutated_rows(draw: st.DrawFn, method: str = "supervised", most_changes: int = 4) -> Row:
    """Good rows of a method with some changes."""
    row: Row = copy.deepcopy(draw(st.sampled_from(good_rows_of(method))))
    for _ in range(draw(st.integers(0, most_changes))):
        places = _containers(row)
        if not places:
            return row
        place = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(["set", "add", "drop", "repeat"]))
        value = copy.deepcopy(draw(_VALUES))
        if isinstance(place, dict):
            if kind == "drop":
                del place[draw(st.sampled_from(sorted(place)))]
            else:
                place[draw(_KEYS if kind == "add" else st.sampled_from(sorted(place)))] = value
            continue
        index = draw(st.integers(0, len(place) - 1))
        if kind == "drop":
            del place[index]
        elif kind == "set":
            place[index] = value
        else:
            place.insert(index, value if kind == "add" else copy.deepcopy(place[index]))
    return row
