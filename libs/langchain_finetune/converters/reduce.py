"""Between the passes: rows that nearly equal another one, and more rows of a kind than were asked for."""

from langchain_finetune._parsing import loads
from langchain_finetune._spool import Scratch
from langchain_finetune.converters.balance import thin
from langchain_finetune.converters.collapse import unweighted
from langchain_finetune.converters.decisions import Decisions
from langchain_finetune.converters.duplicates.near_duplicates import NearDuplicates


def leave_out_near_duplicates(decisions: Decisions, draft: Scratch) -> None:
    """Let each row that nearly equals an earlier one stand for it, in one group with it.

    It is done when growing histories have become one row: a call of a loop nearly equals the call before.
    """
    near, lines = NearDuplicates(), iter(draft)
    for position, head in enumerate(lines):
        if head.startswith(b"{"):
            continue
        line = next(lines)
        if not decisions.is_kept(position):
            continue
        first = near.first_of(loads(unweighted(line)), position)
        if first != position:
            decisions.firsts[position] = first
            decisions.near.add(position)
            decisions.groups.unite(decisions.nodes[first], decisions.nodes[position])


def balance_rows(decisions: Decisions) -> None:
    """Drop what is over a cap, or no part of the sample."""
    groups, nodes = decisions.groups, decisions.nodes
    decisions.dropped = thin(
        decisions.kept(),
        decisions.labels,
        decisions.settings.balance,
        lambda position: groups.opening(groups.root(nodes[position])),
        decisions.merges.into,
    )
