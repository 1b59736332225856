"""Pure: one row of training data, what is wrong with it and how many tokens it has."""

from langchain_finetune.rows.formats import FORMATS, RowFormat
from langchain_finetune.rows.rules import Problem, find_problem, find_problems
from langchain_finetune.rows.shape import find_misshapes
from langchain_finetune.rows.tokens import count_tokens, estimate_tokens

__all__ = [
    "FORMATS",
    "Problem",
    "RowFormat",
    "count_tokens",
    "estimate_tokens",
    "find_misshapes",
    "find_problem",
    "find_problems",
]
