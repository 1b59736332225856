"""What the engine wrote, as OpenAI's chat completion, whole or in chunks. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from finetune_server.inference.completion import Completed, CompletionChunk, TokenChance, TokenLogprob
from finetune_server.rendering.tool_calls import ToolCall, ToolCallParser, new_call_id

Wire = dict[str, Any]

_UNLIKELY = -9999.0
"""OpenAI's logarithm of a probability too small to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What all parts of one answer share."""

    id: str
    created: int
    model: str
    system_fingerprint: str
    num_prompt_tokens: int

    def whole(self, choices: Sequence["ChoiceWriter"]) -> Wire:
        """Return the whole answer."""
        return self._object("chat.completion") | {
            "choices": [choice.whole() for choice in choices],
            "usage": self.usage(choice.completed for choice in choices),
        }

    def chunk(self, choices: list[Wire], **more: Any) -> Wire:
        """Return a part of the answer."""
        return self._object("chat.completion.chunk") | {"choices": choices} | more

    def usage(self, completed: Iterable[Completed | None]) -> Wire:
        """Return the tokens used; the prompt counts once, whatever the number of choices."""
        parts = [part for part in completed if part]
        num_written = sum(part.num_completion_tokens for part in parts)
        return {
            "prompt_tokens": self.num_prompt_tokens,
            "completion_tokens": num_written,
            "total_tokens": self.num_prompt_tokens + num_written,
            "prompt_tokens_details": {
                "cached_tokens": parts[0].num_cached_tokens if parts else 0,
                "audio_tokens": 0,
            },
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def _object(self, kind: str) -> Wire:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": self.system_fingerprint,
        }


class ChoiceWriter:
    """Turns what the engine writes for one choice into deltas, and all of them into a message.

    Log probabilities are those of the text as the model wrote it, the markup of calls included.

    Args:
        index: The choice's place.
        may_call: Whether calls are looked for in the text.
        is_legacy: Whether a call is answered as `function_call`.
        num_top: How many likely tokens to tell at each place; None tells nothing.
    """

    def __init__(self, index: int, *, may_call: bool, is_legacy: bool, num_top: int | None) -> None:
        self._index = index
        self._parser = ToolCallParser() if may_call else None
        self._is_legacy = is_legacy
        self._num_top = num_top
        self._content = ""
        self._calls: list[Wire] = []
        self._logprobs: list[Wire] = []
        self._num_told = 0
        self._has_begun = False
        self.completed: Completed | None = None

    def feed(self, chunk: CompletionChunk) -> Iterator[Wire]:
        """Take the next piece, and give the parts of the choice that can be told by now."""
        self._logprobs += [_logprob(token, self._num_top or 0) for token in chunk.logprobs]
        for item in self._items(chunk):
            yield self._part(self._delta(item))
        if chunk.completed:
            self.completed = chunk.completed
            yield self._part(self._opening({}), self._finish_reason())

    def whole(self) -> Wire:
        """Return the choice when all is written."""
        message: Wire = {
            "role": "assistant",
            "content": self._content if self._content or not self._calls else None,
            "refusal": None,
            "annotations": [],
        }
        if self._calls and self._is_legacy:
            message["function_call"] = self._calls[0]["function"]
        elif self._calls:
            message["tool_calls"] = self._calls
        return {
            "index": self._index,
            "message": message,
            "logprobs": self._told_logprobs(self._logprobs),
            "finish_reason": self._finish_reason(),
        }

    def _items(self, chunk: CompletionChunk) -> Iterator[str | ToolCall]:
        if self._parser is None:
            if chunk.text:
                yield chunk.text
            return
        yield from self._parser.feed(chunk.text)
        if chunk.completed:
            yield from self._parser.finish()

    def _delta(self, item: str | ToolCall) -> Wire:
        if isinstance(item, str):
            self._content += item
            return self._opening({"content": item})
        function = {"name": item.name, "arguments": item.arguments}
        call: Wire = {"id": new_call_id(), "type": "function", "function": function}
        self._calls.append(call)
        if self._is_legacy:
            return self._opening({"content": None, "function_call": function})
        return self._opening({"content": None, "tool_calls": [{"index": len(self._calls) - 1} | call]})

    def _opening(self, delta: Wire) -> Wire:
        if self._has_begun:
            return {key: value for key, value in delta.items() if value is not None}
        self._has_begun = True
        return {"role": "assistant", "content": "", "refusal": None} | delta

    def _part(self, delta: Wire, finish_reason: str | None = None) -> Wire:
        untold = self._logprobs[self._num_told :]
        self._num_told = len(self._logprobs)
        return {
            "index": self._index,
            "delta": delta,
            "logprobs": self._told_logprobs(untold) if untold else None,
            "finish_reason": finish_reason,
        }

    def _told_logprobs(self, logprobs: list[Wire]) -> Wire | None:
        return None if self._num_top is None else {"content": logprobs, "refusal": None}

    def _finish_reason(self) -> str:
        if self.completed and self.completed.finish_reason == "length":
            return "length"
        if not self._calls:
            return "stop"
        return "function_call" if self._is_legacy else "tool_calls"


def _logprob(token: TokenLogprob, num_top: int) -> Wire:
    return _chance(token.chosen) | {"top_logprobs": [_chance(other) for other in token.likeliest[:num_top]]}


def _chance(token: TokenChance) -> Wire:
    return {"token": token.text, "logprob": max(token.logprob, _UNLIKELY), "bytes": list(token.raw)}
