"""Sessions as rows of preferences (`dpo`): one conversation, and two answers of which one is better.

What tells the better one:

- a correction: what a person wrote in place of the answer is better than the answer;
- a correction that chooses: what one of the run's candidates says, which is then better than the rest;
- scores of one feedback key, on runs of the same prompt with the same tools: see `pairing`.

A score is about a run's first answer. It says nothing about the candidates beside it, which make no pair
without a choice.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any, Final

from langchain_finetune._spool import line_offsets, open_jsonl
from langchain_finetune.converters.rendering.examples import (
    Example,
    Message,
    Refused,
    Rendering,
    Row,
    SessionRow,
    prompt_of,
    tools_of,
)
from langchain_finetune.converters.rendering.pairing import Pair, Pairs, Scores, Unpaired, answer_key
from langchain_finetune.converters.rendering.thinking import with_reasoning
from langchain_finetune.converters.sessions import read_session_rows
from langchain_finetune.errors import SettingError
from langchain_finetune.rows import FORMATS, Problem
from langchain_finetune.runs import Reason

_MOST_KEYS_TOLD: Final = 10


def preference_examples(path: Path, rendering: Rendering) -> Iterator[Example | Refused]:
    """Yield the pairs of a file of sessions, in the order of their earlier runs, and the runs without one.

    The file is read twice: of the first pass only hashes, scores and offsets are kept, by which the second
    one reads the other half of a pair.

    Raises:
        SettingError: There are scores of several keys and none is named, or none of the key that is named.
    """
    pairs = _find_pairs(path, rendering)
    with open_jsonl(path) as session_at:
        for position, session in enumerate(read_session_rows(path)):
            yield from _examples_of(session, pairs.at(position), session_at, rendering)


def _examples_of(
    session: SessionRow,
    outcome: Pair | Unpaired | None,
    session_at: Callable[[int], SessionRow],
    rendering: Rendering,
) -> Iterator[Example | Refused]:
    run_id = session["run_id"]
    if session.get("functions"):
        yield Refused(run_id, Reason.UNKNOWN_KEY, "functions")
        return
    asked = _asked(session, rendering)
    own = _own_pairs(session, rendering.max_pairs_per_prompt)
    for number, (preferred, other) in enumerate(own):
        yield Example(run_id, _row(asked, preferred, other), session, is_further=number > 0)
    if isinstance(outcome, Pair):
        others = [session_at(place) for place in outcome.others]
        partner = others[outcome.others.index(outcome.partner)]
        preferred, other = _answers(session, partner, rendering)
        if not outcome.is_preferred:
            preferred, other = other, preferred
        yield Example(
            run_id,
            _row(asked, preferred, other),
            session,
            is_further=bool(own),
            merged=tuple(it["run_id"] for it in others if not _own_pairs(it, 1)),
            partners=tuple(others),
        )
    elif not own and (refused := _why_none(session, outcome, rendering)):
        yield refused


def _why_none(session: SessionRow, outcome: Unpaired | None, rendering: Rendering) -> Refused | None:
    """Return why a run makes no pair; None where it is part of another run's."""
    run_id = session["run_id"]
    if outcome is not None:
        return Refused(run_id, outcome.reason) if outcome.reason else None
    if problem := _problem(session, rendering):
        return Refused(run_id, problem.reason, problem.field)
    if session.get("correction"):
        return Refused(run_id, Reason.SAME_OUTPUTS, "correction")
    return Refused(run_id, Reason.NO_PREFERENCE if session.get("candidates") else Reason.UNRATED)


# --- one run --------------------------------------------------------------------------------------------


def _asked(session: SessionRow, rendering: Rendering) -> Row:
    shown = with_reasoning(session) if rendering.reasoning == "think" else session
    asked: Row = {"messages": prompt_of(shown, "dpo")}
    if tools := tools_of(session):
        asked["tools"] = tools
        if (is_parallel := session.get("parallel_tool_calls")) is not None:
            asked["parallel_tool_calls"] = is_parallel
    return asked


def _row(asked: Row, preferred: Message, other: Message) -> Row:
    return {"input": asked, "preferred_output": [preferred], "non_preferred_output": [other]}


def _own_pairs(session: SessionRow, max_pairs: int) -> list[tuple[Message, Message]]:
    """Return the pairs that a run makes by itself: the better answer, the other one."""
    correction = session.get("correction")
    if not correction or session.get("functions"):
        return []
    chosen = answer_key(correction)
    different: dict[str, Message] = {}
    better = correction
    for answer in (session["answer"], *(session.get("candidates") or ())):
        key = answer_key(answer)
        if key == chosen:
            better = answer if better is correction else better
        else:
            different.setdefault(repr(key), answer)
    if (
        better is correction
    ):  # words of a person's own: better than the answer, and the candidates are unknown
        return [(correction, session["answer"])]
    return [(better, other) for other in list(different.values())[:max_pairs]]


def _answers(session: SessionRow, partner: SessionRow, rendering: Rendering) -> tuple[Message, Message]:
    """Return the answers of two runs, with their reasoning where both have some.

    Where only one had, the difference that is learned would be whether to reason at all.
    """
    both = [session["answer"], partner["answer"]]
    if rendering.reasoning == "think":
        shown = [with_reasoning(it)["answer"] for it in (session, partner)]
        if all(it is not recorded for it, recorded in zip(shown, both, strict=True)):
            both = shown
    return both[0], both[1]


def _problem(session: SessionRow, rendering: Rendering) -> Problem | None:
    """Return what would keep a pair with this run's answer from being trained on."""
    answer = session["answer"]
    trial = _row(_asked(session, rendering), answer, answer)
    for problem in FORMATS["dpo"].find_problems(trial):
        if problem.reason is not Reason.SAME_OUTPUTS:
            return Problem(problem.reason, problem.field.replace("preferred_output[0]", "answer"))
    return None


# --- pairs of runs --------------------------------------------------------------------------------------


def _find_pairs(path: Path, rendering: Rendering) -> Pairs:
    scores, keys = Scores(), Counter[str]()
    key = rendering.score_key
    for position, (offset, session) in enumerate(
        zip(line_offsets(path), read_session_rows(path), strict=True)
    ):
        feedback = _feedback(session)
        keys.update(feedback.keys())
        if key is None:
            key = next(iter(feedback), None)
        if key not in feedback or session.get("functions") or _problem(session, rendering):
            continue
        score = -feedback[key] if rendering.lower_is_better else feedback[key]
        asked, answer = _asked(session, rendering), session["answer"]
        correction = session.get("correction")
        scores.enter(
            position,
            offset,
            asked,
            answer,
            score,
            is_corrected=correction is not None and answer_key(correction) != answer_key(answer),
        )
    _check_key(rendering.score_key, keys, path)
    return scores.pairs(rendering.max_pairs_per_prompt)


def _feedback(session: SessionRow) -> dict[str, float]:
    return {key: score for key, score in (session.get("feedback") or {}).items() if _is_score(score)}


def _is_score(score: Any) -> bool:
    return isinstance(score, int | float) and isfinite(score)


def _check_key(named: str | None, keys: Counter[str], path: Path) -> None:
    if named is None and len(keys) <= 1:
        return
    if named is not None and named in keys:
        return
    told = ", ".join(f"{key!r} ({count:,} runs)" for key, count in keys.most_common(_MOST_KEYS_TOLD))
    if named is None:
        msg = f"the runs of {path} have scores of {len(keys)} keys: {told}. Name one of them: score_key=."
    elif keys:
        msg = f"no run of {path} has a score of the key {named!r}. There are {told}: name one of them."
    else:
        msg = f"no run of {path} has a score: leave score_key out, or load runs with feedback."
    raise SettingError(msg)
