"""What a row is held to: OpenAI's rules, and with `target="provider:base"` that host's and that base's too.

The host's rules and limits are data in `rows.host_rules` and `hosts`; here they are put together with what
counts tokens for the base.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from langchain_finetune.converters.base_tokens import BaseTokenizer, NoTokenizer
from langchain_finetune.handles import Method, Split
from langchain_finetune.hosts import LOCAL, Host, parse_target, require_method
from langchain_finetune.rows import (
    FORMATS,
    HostRules,
    Problem,
    count_tokens,
    find_host_problems,
    is_too_large,
    line_of,
    rules_of,
    tiktoken_counter,
)
from langchain_finetune.runs import Reason

TokenSource = Literal["tokenizer", "tiktoken", "recorded"]
"""What counts tokens: the base's own tokenizer, tiktoken by OpenAI's cookbook, or the usage that the run has
recorded, which is that of the model that answered then."""

_COUNTED: Final = frozenset[TokenSource]({"tokenizer", "tiktoken"})

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """Where rows are to be trained on, as far as it concerns the rows.

    With a base of the embedded server it holds a process that counts, from the first count on; `close`, or a
    `with` block, ends it.
    """

    method: Method
    host: Host | None = None
    """None where no target is named: OpenAI's rules for a row are all there is."""

    base: str = ""
    rules: HostRules = field(default_factory=HostRules)
    _counting: "_Counting" = field(default_factory=lambda: _Counting(None, ""), repr=False, compare=False)

    @classmethod
    def of(cls, target: str | None, method: Method = "supervised") -> Self:
        """Return the target that a setting names.

        Args:
            target: `"provider:base"`, as `FineTuneRunnable` takes it; None for OpenAI's rules alone.
            method: Method of training that the rows are for.

        Raises:
            UnknownProviderError: The provider or the base is missing, or the provider is unknown.
            SettingError: The host does not train by the method.
        """
        if target is None:
            return cls(method)
        host, base = parse_target(target)
        require_method(method, host)
        return cls(method, host, base, rules_of(host), _Counting(host, base))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what counts tokens, if it was started; a further count starts it again."""
        self._counting.close()

    # --- how much ---

    @property
    def min_examples(self) -> int | None:
        """Fewest training rows that the host takes; None without a host."""
        return None if self.host is None else self.host.min_examples

    @property
    def max_tokens_per_example(self) -> int | None:
        """Most tokens of one row; None where no limit is known.

        Hosts cut off what is longer at its end, the answer first; the embedded server refuses it.

        Raises:
            UnknownBaseError: The embedded server has no such base.
        """
        if self.host is LOCAL:
            return self._counting.max_tokens
        return self.rules.max_tokens_of(self.base)

    @property
    def max_image_rows(self) -> int | None:
        """Most rows of a file that hold images; None where no limit is known."""
        return self.rules.max_image_rows

    @property
    def needs_validation(self) -> bool:
        """Whether the host trains by this method only with validation rows."""
        return self.method in self.rules.needs_validation

    def max_rows(self, split: Split = "train") -> int | None:
        """Return the most rows of a split's file; None where no limit is known.

        The test split is never uploaded, so that it has none.
        """
        if self.host is None or split == "test":
            return None
        return self.rules.max_rows_of(self.host, self.method, split)

    # --- one row ---

    def find_problems(self, row: Row) -> Iterator[Problem]:
        """Yield the host's rules, beyond OpenAI's, that a row without a misshape breaks."""
        if self.host is None:
            return
        if self.rules.max_row_bytes is not None and is_too_large(len(line_of(row)) + 1, self.rules):
            yield Problem(Reason.TOO_LONG, "")
        yield from find_host_problems(row, self.rules, self.base, self.method)

    def count_tokens(self, row: Row) -> int | None:
        """Return the tokens of a row without a misshape, tools included; of a pair both outputs.

        None where `token_source` is "recorded": the run's usage stands for them, where it has any.

        Raises:
            UnknownBaseError: The embedded server has no such base.
        """
        return self._counting.count(FORMATS[self.method].as_chat(row))

    @property
    def token_source(self) -> TokenSource:
        """What counts the tokens.

        Raises:
            UnknownBaseError: The embedded server has no such base.
        """
        return self._counting.source

    @property
    def tokens_are_estimated(self) -> bool:
        """Whether the tokens are those of another model, the one that answered in the run."""
        source: TokenSource = self.token_source
        return source not in _COUNTED


class _Counting:
    """What counts the tokens of a base: found out, and started, with the first question.

    Args:
        host: Where the base is trained; None where no target is named.
        base: The base.
    """

    def __init__(self, host: Host | None, base: str) -> None:
        self._host = host
        self._base = base
        self._tokenizer: BaseTokenizer | None = None
        self._text_counter: Callable[[str], int] | None = None
        self._source: TokenSource | None = None
        self._max_tokens: int | None = None

    @property
    def source(self) -> TokenSource:
        if self._source is None:
            self._source = self._find_source()
        return self._source

    @property
    def max_tokens(self) -> int | None:
        """Most tokens of a row that the base's own files name."""
        if self.source == "tokenizer" and self._max_tokens is None:
            self._start()
        return self._max_tokens

    def count(self, chat: Row) -> int | None:
        source = self.source
        if source == "tiktoken" and self._text_counter:
            return count_tokens(chat, self._text_counter)
        return self._count_by_base(chat) if source == "tokenizer" else None

    def close(self) -> None:
        if self._tokenizer is not None:
            self._tokenizer.close()
            self._tokenizer = None

    def _find_source(self) -> TokenSource:
        if self._host is None:
            return "recorded"
        if self._host is LOCAL:
            try:
                self._start()
            except NoTokenizer as e:
                self._warn(e)
                return "recorded"
            return "tokenizer"
        self._text_counter = tiktoken_counter(self._base)
        return "tiktoken" if self._text_counter else "recorded"

    def _start(self) -> BaseTokenizer:
        self._tokenizer = BaseTokenizer(self._base)
        self._max_tokens = self._tokenizer.max_tokens
        return self._tokenizer

    def _count_by_base(self, chat: Row) -> int | None:
        try:
            return (self._tokenizer or self._start()).count(chat)
        except NoTokenizer as e:
            self.close()
            self._source = "recorded"
            self._warn(e)
            return None

    def _warn(self, reason: NoTokenizer) -> None:
        msg = f"tokens for {self._base!r} are those that the runs recorded, of other models: {reason}."
        warnings.warn(msg, UserWarning, stacklevel=2)
