"""Recorded sessions of agent traces, made one at a time, the same at every run.

A trace is a loop of three calls of a model: each repeats the one before it. One trace in twenty asks word
for word what an earlier one asked and is answered alike, one is answered in another way, one asks nearly the
same; one in fifty brings a key along.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

CALLS: Final = 3
"""Calls, and so runs, of a trace."""

_POLICY: Final = (
    "You answer the customers of a shop for bicycles. Be brief and kind. Look up an order before you say "
    "anything about it. Refunds above 200 euros need a colleague: say that you ask one. Promise no date. "
)
WORDS: Final = tuple(
    first + second + third
    for first in ("ba", "ker", "lo", "mi", "nu", "pra", "ste", "tor", "vil", "zan")
    for second in ("de", "fi", "gar", "ho", "kel", "mun", "ros", "ta", "wi", "xu")
    for third in ("", "ck", "ly", "ma", "nt", "pe", "que", "rd", "st", "ve")
)
_REPEATED, _NEAR, _ANSWERED_ANEW, _LEAKY = 7, 13, 17, 3
_DISTANCES: Final = {_REPEATED: 3, _NEAR: 5, _ANSWERED_ANEW: 2}
"""How many traces ago the question was asked, by a trace's number modulo twenty."""


def _tool(name: str) -> dict[str, Any]:
    order = {"type": "string", "description": "The order's number, as on the invoice"}
    schema = {"type": "object", "properties": {"order": order}, "required": ["order"]}
    function = {"name": name, "description": "Works on one order of a customer", "parameters": schema}
    return {"type": "function", "function": function}


_TOOLS: Final = [_tool("find_order"), _tool("refund_order")]


def make_trace(number: int, *, policy_repeats: int = 8) -> list[dict[str, Any]]:
    """Return the sessions of a trace, the first call first."""
    kind = number % 20
    origin = number - _DISTANCES.get(kind, 0)
    words = random.Random(origin)  # no secret: the same traces every time
    asked = words.choices(WORDS, k=60)
    if kind == _ANSWERED_ANEW:
        words = random.Random(number)
    if kind == _NEAR:
        changes = random.Random(number)
        for place in changes.sample(range(60), 1 + number // 20 % 8):
            asked[place] = changes.choice(WORDS)
    if number % 50 == _LEAKY:
        asked.append(f"my key is sk-proj-{origin:040d}")
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": _POLICY * policy_repeats},
        {"role": "user", "content": f"Order {origin:08d}. {' '.join(asked)}"},
    ]
    names = ("refund_order", "find_order") if kind == _ANSWERED_ANEW else ("find_order", "refund_order")
    sessions = []
    for step, name in enumerate((*names, "")):
        answer = _call(name, origin, step) if name else {"role": "assistant", "content": _said(words, 40)}
        sessions.append(_session(number, step, messages, answer))
        told = {"role": "tool", "tool_call_id": f"call_{step}", "content": _said(words, 30)}
        messages = [*messages, answer, told]
    return sessions


def _said(words: random.Random, count: int) -> str:
    return " ".join(words.choices(WORDS, k=count)).capitalize() + "."


def _call(name: str, origin: int, step: int) -> dict[str, Any]:
    function = {"name": name, "arguments": f'{{"order": "{origin:08d}"}}'}
    call = {"id": f"call_{step}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _session(
    number: int, step: int, messages: list[dict[str, Any]], answer: dict[str, Any]
) -> dict[str, Any]:
    return {
        "run_id": f"00000000-0000-4000-{step:04x}-{number:012x}",
        "trace_id": f"00000000-0000-4000-9000-{number:012x}",
        "messages": messages,
        "answer": answer,
        "tools": _TOOLS,
        "model": "gpt-4o-mini",
        "usage": {"prompt_tokens": 700, "completion_tokens": 40, "total_tokens": 740},
        "tags": ["prod"],
        "metadata": {"app": "support"},
        "version": 1,
    }


def make_sessions(num_sessions: int, *, policy_repeats: int = 8) -> Iterator[dict[str, Any]]:
    """Yield sessions, trace by trace."""
    for number in range(-(-num_sessions // CALLS)):
        sessions = make_trace(number, policy_repeats=policy_repeats)
        yield from sessions[: num_sessions - number * CALLS]


def write_sessions(path: Path, num_sessions: int, *, policy_repeats: int = 8) -> Path:
    """Write the file that a loader would give."""
    with path.open("wb") as file:
        for session in make_sessions(num_sessions, policy_repeats=policy_repeats):
            file.write(orjson.dumps(session, option=orjson.OPT_APPEND_NEWLINE))
    return path
