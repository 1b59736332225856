"""The one renderer: a conversation to the text a model reads and, in training, learns to write.

Training and serving share this template, so they cannot drift apart. The text comes as segments:

- `is_trained`: the model must write this text. It runs from right after the generation prompt up to and
  including the token that ends the turn.
- `is_control`: the text is one control token of the template. Only these may be tokenized as special tokens;
  every other segment holds what people wrote, and `<|im_start|>` in a question must stay eleven harmless
  characters. Tokenize segment by segment: control segments with special tokens recognized, all others with
  special tokens off. For texts without such lures this gives the ids of the whole text tokenized at once.
"""

import functools
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from finetune_server.rendering.messages import Message, dump_json, normalize_messages, normalize_tools

TEMPLATE_PATH = Path(__file__).with_name("chatml_tools.jinja")
END_OF_TURN = "<|im_end|>"
"""The control token with which every turn ends; an engine stops there."""

_CONTROL = re.compile(r"<\|[a-z_]+\|>")
_MARKS = ("mark_control", "mark_plain", "mark_trained", "mark_given")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a rendered conversation."""

    text: str
    is_trained: bool
    is_control: bool = False


class _SegmentMarks(Extension):
    """Turns `{% generation %}` and the control tokens in the template's own text into marks.

    The marks carry a random number per rendering, so that no content can contain one.
    """

    tags = {"generation"}  # noqa: RUF012 - the name and type are jinja2's

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002 - jinja2's signature
        return _CONTROL.sub(r"{{ mark_control }}\g<0>{{ mark_plain }}", source)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        before, after = (
            nodes.Output([nodes.Name(mark, "load")], lineno=line) for mark in ("mark_trained", "mark_given")
        )
        return [before, *body, after]


@functools.cache
def _template() -> Any:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, extensions=[_SegmentMarks]
    )
    environment.filters["tojson"] = dump_json
    return environment.from_string(TEMPLATE_PATH.read_text(encoding="utf-8"))


def render_conversation(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    functions: Sequence[Mapping[str, Any]] | None = None,
) -> list[Segment]:
    """Render a training row. Assistant turns are trained unless their `weight` is 0.

    Raises:
        UnreadableMessageError: A message cannot be shown to a text model.
    """
    weights = [message.get("weight") for message in messages if message.get("role") == "assistant"]
    return _render(messages, tools, functions, trained_turns=[weight != 0 for weight in weights])


def render_prompt_segments(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    functions: Sequence[Mapping[str, Any]] | None = None,
    *,
    add_generation_prompt: bool = True,
) -> list[Segment]:
    """Render what the model reads before it answers, in segments to be tokenized one by one.

    Raises:
        UnreadableMessageError: A message cannot be shown to a text model.
    """
    return _render(messages, tools, functions, add_generation_prompt=add_generation_prompt)


def render_prompt(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None = None,
    functions: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """Render what the model reads before it answers, as text.

    Raises:
        UnreadableMessageError: A message cannot be shown to a text model.
    """
    return "".join(segment.text for segment in render_prompt_segments(messages, tools, functions))


def _render(
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None,
    functions: Sequence[Mapping[str, Any]] | None,
    *,
    trained_turns: Sequence[bool] = (),
    add_generation_prompt: bool = False,
) -> list[Segment]:
    nonce = f"\0{secrets.token_hex(8)}:"
    text: str = _template().render(
        messages=normalize_messages(messages),
        tools=normalize_tools(tools, functions),
        add_generation_prompt=add_generation_prompt,
        **{mark: f"{nonce}{mark}\0" for mark in _MARKS},
    )
    return _split(text, re.compile(f"{re.escape(nonce)}([a-z_]+)\0"), iter(trained_turns))


def _split(text: str, mark: re.Pattern[str], trained_turns: Any) -> list[Segment]:
    first, *rest = mark.split(text)
    segments = [Segment(first, is_trained=False)]
    is_trained = is_control = False
    for name, piece in zip(rest[::2], rest[1::2], strict=True):
        if name == "mark_trained":
            is_trained = next(trained_turns, False)
        elif name == "mark_given":
            is_trained = False
        else:
            is_control = name == "mark_control"
        segments.append(Segment(piece, is_trained, is_control))
    return [segment for segment in segments if segment.text]
