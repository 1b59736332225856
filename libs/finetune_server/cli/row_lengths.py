"""Tokens of a training row for a base: rendered and tokenized as in training, without the base's weights."""

from typing import Any, Self

import orjson
from tokenizers import Tokenizer

from finetune_server.bases import TokenizerFiles, resolve_tokenizer
from finetune_server.gguf_header import read_gguf_header
from finetune_server.rendering.messages import UnreadableMessageError
from finetune_server.rendering.render import Segment, render_conversation
from finetune_server.training.examples import encode_segment, load_tokenizer, text_only
from finetune_server.training.tokenizer_file import tokenizer_json

_MOST_KEPT = 8_000_000
"""Characters of segments whose length is kept: rows of one application begin with the same prompts."""


class RowLengths:
    """Counts with the tokenizer of one base.

    Args:
        tokenizer: The tokenizer.
        context_length: Most tokens of a row that the base is trained on.
    """

    def __init__(self, tokenizer: Tokenizer, context_length: int) -> None:
        self.context_length = context_length
        self._tokenizer = tokenizer
        self._lengths: dict[tuple[str, bool], int] = {}
        self._num_kept = 0

    @classmethod
    def of(cls, base: str) -> Self:
        """The counter of a base.

        Raises:
            UnknownBase: There is no such base.
            UnsupportedBaseError: Its tokenizer cannot be reproduced.
        """
        files = resolve_tokenizer(base)
        return cls(_tokenizer(files), files.context_length)

    def count(self, line: bytes) -> int | None:
        """The tokens of a row; None for a line that is no row, or one that the base cannot be shown."""
        try:
            row: dict[str, Any] = orjson.loads(line)
            segments = render_conversation(row["messages"], row.get("tools"), row.get("functions"))
        except (UnreadableMessageError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return sum(map(self._length, segments))

    def _length(self, segment: Segment) -> int:
        key = (segment.text, segment.is_control)
        length = self._lengths.get(key)
        if length is None:
            self._num_kept += len(segment.text)
            if self._num_kept > _MOST_KEPT:
                self._lengths.clear()
                self._num_kept = len(segment.text)
            length = self._lengths[key] = len(encode_segment(segment, self._tokenizer))
        return length


def _tokenizer(files: TokenizerFiles) -> Tokenizer:
    if files.hf_dir is not None:
        return load_tokenizer(files.hf_dir)
    if files.gguf_path is None:
        msg = "a base has neither a GGUF file nor a directory"
        raise ValueError(msg)
    metadata = read_gguf_header(files.gguf_path).metadata
    return text_only(Tokenizer.from_str(orjson.dumps(tokenizer_json(metadata)).decode()))
