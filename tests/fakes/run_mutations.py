"""Damages recorded runs, by a seed: what a reader of other people's data must survive."""

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = Any

_HUGE = 300_000
_DEEP = (90, 150, 600, 5_000)
_MANY = 12_000


def records_in(folder: Path) -> list[dict[str, Any]]:
    """Return every recorded run and span of a folder."""
    scenarios = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [record for scenario in scenarios for record in scenario.get("runs") or scenario["spans"]]


def mutants(records: list[dict[str, Any]], count: int, seed: int) -> Iterator[tuple[str, Json]]:
    """Yield damaged copies of the records, each with the names of its damages."""
    rng = random.Random(seed)
    names = [*DAMAGES]
    weights = [rarely or 20 for _, rarely in DAMAGES.values()]
    for _ in range(count):
        mutant: Json = copy.deepcopy(rng.choice(records))
        done = []
        chosen = rng.choices(names, weights, k=rng.choice((1, 1, 1, 2, 3)))
        # Large damages come last, and once: the others copy what they find.
        small = [name for name in chosen if name not in LARGE]
        for name in small + [name for name in chosen if name in LARGE][:1]:
            if not (places := list(_places(mutant))):
                break
            parent, key = rng.choice(places)
            DAMAGES[name][0](rng, mutant, parent, key, records)
            done.append(name)
        yield "+".join(done), mutant


def _places(value: Json) -> Iterator[tuple[Json, Any]]:
    pending = [value]
    while pending:
        parent = pending.pop()
        if isinstance(parent, dict):
            keys: Any = parent
        elif isinstance(parent, list) and len(parent) < _MANY:
            keys = range(len(parent))
        else:
            continue
        for key in keys:
            # The call is where reading happens; the id is asserted on.
            if parent is value and key == "id":
                continue
            yield parent, key
            pending.append(parent[key])


VALUES: tuple[Json, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        2**70,
        10**400,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "x",
        "\ud800",
        "null",
        "{}",
    ),
    *([], {}, [None], [[]], [{}], {"": None}, {"type": "text"}, {"role": "assistant"}, ["user", "hi"]),
    {"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]},
    {"lc": 1, "type": "not_implemented", "id": ["a", "B"], "repr": "B()"},
    {"__lc_escaped__": {"lc": 1}},
)


def _any(rng: random.Random) -> Json:
    return rng.choice(
        (
            *(
                None,
                True,
                False,
                0,
                -1,
                2**70,
                1.5,
                float("nan"),
                float("inf"),
                "",
                "x",
                "\ud800",
                "null",
                "{}",
            ),
            *(
                [],
                {},
                [None],
                [[]],
                [{}],
                {"": None},
                {"type": "text"},
                {"role": "assistant"},
                ["user", "hi"],
            ),
            {"lc": 1, "type": "secret", "id": ["OPENAI_API_KEY"]},
            {"lc": 1, "type": "not_implemented", "id": ["a", "B"], "repr": "B()"},
            {"__lc_escaped__": {"lc": 1}},
        )
    )


def _drop(rng, mutant, parent, key, records):
    del parent[key]


def _retype(rng, mutant, parent, key, records):
    parent[key] = copy.deepcopy(_any(rng))


def _as_text(rng, mutant, parent, key, records):
    parent[key] = json.dumps(parent[key])


def _nest(rng, mutant, parent, key, records):
    value = parent[key]
    parent[key] = rng.choice(([value], {"messages": value}, {"output": value}, [[value]]))


def _unnest(rng, mutant, parent, key, records):
    value = parent[key]
    if isinstance(value, list) and value:
        parent[key] = value[0]
    elif isinstance(value, dict) and value:
        parent[key] = rng.choice([*value.values()])


def _swap(rng, mutant, parent, key, records):
    other_parent, other_key = rng.choice(list(_places(mutant)))
    one, other = copy.deepcopy(parent[key]), copy.deepcopy(other_parent[other_key])
    other_parent[other_key] = one
    parent[key] = other


def _graft(rng, mutant, parent, key, records):
    other_parent, other_key = rng.choice(list(_places(rng.choice(records))))
    parent[key] = copy.deepcopy(other_parent[other_key])


def _other_half(rng, mutant, parent, key, records):
    half = rng.choice(("inputs", "outputs", "extra"))
    mutant[half] = copy.deepcopy(rng.choice(records).get(half))


def _repeat(rng, mutant, parent, key, records):
    if isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    else:
        parent[f"{key}_"] = copy.deepcopy(parent[key])


def _rename(rng, mutant, parent, key, records):
    if isinstance(parent, dict):
        parent[rng.choice(("content", "type", "role", "output", "messages", "kwargs", "x"))] = parent.pop(key)


def _long_text(rng, mutant, parent, key, records):
    parent[key] = "a" * _HUGE


def _long_list(rng, mutant, parent, key, records):
    parent[key] = [parent[key]] * _MANY


def _deep(rng, mutant, parent, key, records):
    value: Json = parent[key]
    is_list = rng.random() < 0.5
    for _ in range(rng.choice(_DEEP)):
        value = [value] if is_list else {rng.choice(("a", "messages", "output", "args")): value}
    parent[key] = value


DAMAGES = {
    "drop": (_drop, None),
    "retype": (_retype, None),
    "text": (_as_text, None),
    "nest": (_nest, None),
    "unnest": (_unnest, None),
    "swap": (_swap, None),
    "graft": (_graft, None),
    "half": (_other_half, None),
    "repeat": (_repeat, None),
    "rename": (_rename, None),
    "huge": (_long_text, 2),
    "many": (_long_list, 1),
    "deep": (_deep, 4),
}
"""Each damage with its weight, 20 where it has none: large ones take long to build."""

LARGE = ("huge", "many", "deep")
