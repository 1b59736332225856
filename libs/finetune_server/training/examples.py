"""Rows of a training file as tokens, with the proof that exactly the answers are learned.

A row is rendered by the template that also serves, and tokenized segment by segment, so the end of a prompt
and the start of an answer are token boundaries, as they are when the model is asked. Then the tokens are
decoded again: the whole must be the rendered text, the trained tokens must be the answers, byte for byte.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from tokenizers import Tokenizer

from finetune_server.rendering.messages import UnreadableMessageError
from finetune_server.rendering.render import Segment, render_conversation
from finetune_server.training.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Example:
    """One row, tokenized."""

    tokens: npt.NDArray[np.int32]
    is_trained: npt.NDArray[np.bool_]
    """Of each token, whether the model must learn to write it."""


@dataclass(frozen=True, slots=True)
class RowSource:
    """A file of rows, and how an error names it."""

    path: Path
    param: str
    """`training_file` or `validation_file`."""

    @property
    def words(self) -> str:
        """The file as a sentence names it."""
        return self.param.replace("_", " ")

    def error(self, line: int, reason: str) -> TrainingError:
        """The end of a job because of one row."""
        message = f"Line {line} of the {self.words} cannot be trained on: {reason}"
        return TrainingError(message, code=f"invalid_{self.param}", param=self.param)


def load_tokenizer(hugging_face_dir: Path) -> Tokenizer:
    """The tokenizer of a base, in which text never becomes a control token."""
    return text_only(Tokenizer.from_file(str(hugging_face_dir / "tokenizer.json")))


def text_only(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, set so that text never becomes a control token."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def read_examples(source: RowSource, tokenizer: Tokenizer, *, context_length: int) -> list[Example]:
    """Every row of a file as an example.

    Raises:
        TrainingError: A row cannot be trained on, or the file cannot be read; the message names the line.
    """
    examples = []
    with source.path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            if not raw.isspace():
                examples.append(_example(source, line, raw, tokenizer, context_length))
    if not examples:
        msg = f"The {source.words} has no rows."
        raise TrainingError(msg, code=f"invalid_{source.param}", param=source.param)
    return examples


def encode(segments: Sequence[Segment], tokenizer: Tokenizer) -> Example:
    """The tokens of rendered segments."""
    tokens: list[int] = []
    is_trained: list[bool] = []
    for segment in segments:
        ids = encode_segment(segment, tokenizer)
        tokens += ids
        is_trained += [segment.is_trained] * len(ids)
    return Example(np.array(tokens, dtype=np.int32), np.array(is_trained, dtype=np.bool_))


def encode_segment(segment: Segment, tokenizer: Tokenizer) -> list[int]:
    """The tokens of one segment."""
    control = tokenizer.token_to_id(segment.text) if segment.is_control else None
    if control is not None:
        return [control]
    ids: list[int] = tokenizer.encode(segment.text, add_special_tokens=False).ids
    return ids


def flaw(example: Example, segments: Sequence[Segment], tokenizer: Tokenizer, context_length: int) -> str:
    """Why an example must not be trained on; empty when everything is as it should be."""
    if not example.is_trained.any():
        return "it has no assistant message with a `weight` other than 0, so there is nothing to learn."
    if len(example.tokens) > context_length:
        return (
            f"it has {len(example.tokens)} tokens, more than the {context_length} of the base model. "
            "Shorten it or leave it out."
        )
    trained = example.tokens[example.is_trained]
    whole_text = "".join(segment.text for segment in segments)
    trained_text = "".join(segment.text for segment in segments if segment.is_trained)
    if (
        example.is_trained[0]
        or _decode(example.tokens, tokenizer) != whole_text
        or _decode(trained, tokenizer) != trained_text
    ):
        return "its tokens do not give back its text with the base model's tokenizer. Leave it out."
    return ""


def _example(source: RowSource, line: int, raw: bytes, tokenizer: Tokenizer, context_length: int) -> Example:
    try:
        row: dict[str, Any] = orjson.loads(raw)
        segments = render_conversation(row["messages"], row.get("tools"), row.get("functions"))
        example = encode(segments, tokenizer)
    except UnreadableMessageError as error:
        raise source.error(line, str(error)) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"it has not the form of a chat example ({type(error).__name__})."
        raise source.error(line, reason) from error
    if reason := flaw(example, segments, tokenizer, context_length):
        raise source.error(line, reason)
    return example


def _decode(tokens: npt.NDArray[np.int32], tokenizer: Tokenizer) -> str:
    text: str = tokenizer.decode(tokens.tolist(), skip_special_tokens=False)
    return text
