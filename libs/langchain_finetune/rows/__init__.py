"""Pure: one row of training data, what is wrong with it and how many tokens it has."""

from langchain_finetune.rows.advice import advice_on
from langchain_finetune.rows.arguments import find_misfits
from langchain_finetune.rows.encodings import tiktoken_counter
from langchain_finetune.rows.formats import FORMATS, RowFormat, is_readable, read_chat
from langchain_finetune.rows.host_rules import (
    HostRules,
    find_host_problems,
    is_too_large,
    line_of,
    rules_of,
)
from langchain_finetune.rows.host_words import in_host_words
from langchain_finetune.rows.rules import Problem, find_problem, find_problems
from langchain_finetune.rows.shape import find_misshapes
from langchain_finetune.rows.tokens import count_tokens, estimate_tokens

__all__ = [
    "FORMATS",
    "HostRules",
    "Problem",
    "RowFormat",
    "advice_on",
    "count_tokens",
    "estimate_tokens",
    "find_host_problems",
    "find_misfits",
    "find_misshapes",
    "find_problem",
    "find_problems",
    "in_host_words",
    "is_readable",
    "is_too_large",
    "line_of",
    "read_chat",
    "rules_of",
    "tiktoken_counter",
]
