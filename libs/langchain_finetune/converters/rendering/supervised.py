"""Sessions as rows of OpenAI's supervised chat format: the prompt, and the answer as its last message. Pure.

Further candidates are not trained on, and the response format has no place in a row.
"""

from collections.abc import Iterator

from langchain_finetune.converters.rendering.examples import (
    Example,
    Message,
    Reasoning,
    Row,
    SessionRow,
    named,
    prompt_of,
    target_of,
)
from langchain_finetune.converters.rendering.thinking import with_reasoning, without_training_where_hidden


def supervised_row(session: SessionRow) -> Row:
    """Return the prompt with the answer as its last message, and the schemas that the call carried.

    What a person wrote in place of the answer is the answer that is trained on. The training format has no
    developer role: it is the system's.
    """
    # The hot path: once a session, in both passes.
    messages = prompt_of(session, "supervised")
    messages.append(session.get("correction") or session["answer"])
    row: Row = {"messages": messages}
    if tools := session.get("tools"):
        row["tools"] = tools
        if (is_parallel := session.get("parallel_tool_calls")) is not None:
            row["parallel_tool_calls"] = is_parallel
    if functions := session.get("functions"):
        row["functions"] = functions
    return row


def supervised_examples(
    session: SessionRow, *, reasoning: Reasoning = "drop", trains_history: bool = True
) -> Iterator[Example]:
    """Return the rows of a session: one, or one for each set of tools that its turns had.

    Args:
        session: The session.
        reasoning: Whether recorded reasoning is left out, or stands in front of its answer.
        trains_history: Whether all answers of a row without weights will be trained on. If so, an answer of
            the history is trained on in the row that has its turn's tools, and has the weight 0 in the
            others; it is trained on in none if its reasoning is left out while the row shows some.
    """
    shown = session
    if reasoning == "think":
        shown = with_reasoning(session)
        if trains_history and shown is not session:
            shown = without_training_where_hidden(shown)
    if not session.get("turn_tools"):
        return iter((Example(session["run_id"], supervised_row(shown), session),))
    rows = _rows_by_tools(shown, trains_history=trains_history)
    return (
        Example(session["run_id"], row, session, is_further=number > 0) for number, row in enumerate(rows)
    )


def _rows_by_tools(session: SessionRow, *, trains_history: bool) -> Iterator[Row]:
    """Yield the row of the last turn's tools, then those of other sets, by their first turn."""
    sets = [frozenset(names) for names in session["turn_tools"]]
    messages = [*session["messages"], target_of(session)]
    turns = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if len(sets) != len(turns):  # nobody knows which turn is meant: all of them had all tools
        yield supervised_row(session)
        return
    own = sets[-1]
    yield _row_of(session, own, messages, _weights(sets, own, turns, messages) if trains_history else [])
    for each in dict.fromkeys(sets) if trains_history else ():
        weights = _weights(sets, each, turns, messages)
        if each != own and 1 in weights:
            last = max(number for number, weight in enumerate(weights) if weight)
            yield _row_of(session, each, messages[: turns[last] + 1], weights[: last + 1])


def _weights(
    sets: list[frozenset[str]], tools: frozenset[str], turns: list[int], messages: list[Message]
) -> list[int]:
    """Return the weight of each turn in the row of a set of tools; a weight that a message has holds."""
    return [
        int(had == tools and messages[index].get("weight") != 0)
        for had, index in zip(sets, turns, strict=True)
    ]


def _row_of(session: SessionRow, tools: frozenset[str], messages: list[Message], weights: list[int]) -> Row:
    if 0 in weights:  # a row without weights is trained on in all its answers
        remaining = iter(weights)
        messages = [{**it, "weight": next(remaining)} if it["role"] == "assistant" else it for it in messages]
    *prompt, answer = messages
    given = {
        **session,
        "messages": prompt,
        "answer": answer,
        "correction": None,
        "tools": named(session.get("tools") or [], tools),
    }
    return supervised_row(given)
