"""What is asked of an engine, to the letter, and what is read from it."""

import pytest

from finetune_server.inference.completion import (
    Completed,
    CompletionChunk,
    CompletionRequest,
    EngineError,
    Sampling,
    TokenChance,
    TokenLogprob,
)
from finetune_server.inference.engine_wire import completion_body, completion_chunk, error_of, read_events

LAST = {
    "content": "",
    "stop": True,
    "stop_type": "word",
    "stopping_word": "###",
    "tokens_predicted": 3,
    "timings": {"cache_n": 7},
}


async def parts_of(*parts: bytes):
    for part in parts:
        yield part


async def events_of(*parts: bytes) -> list:
    return [event async for event in read_events(parts_of(*parts))]


def test_every_adapter_is_named_and_only_the_wanted_one_is_on():
    body = completion_body(CompletionRequest(prompt=(1, 2), max_tokens=5), [False, True, False])
    assert body["lora"] == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}, {"id": 2, "scale": 0.0}]


def test_the_defaults_are_openais_and_not_llama_cpps():
    body = completion_body(CompletionRequest(prompt=(1, 2), max_tokens=5), [])
    assert body == {
        "prompt": (1, 2),
        "n_predict": 5,
        "stop": (),
        "stream": True,
        "cache_prompt": True,
        "lora": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "logit_bias": [],
        "top_k": 0,
        "min_p": 0.0,
        "repeat_last_n": 7,
    }


def test_a_wish_is_passed_on():
    sampling = Sampling(seed=-1, logit_bias={5: -100.0, 6: 2.5})
    request = CompletionRequest(prompt=(1,), max_tokens=1, sampling=sampling, grammar="g", num_logprobs=0)
    body = completion_body(request, [])
    assert body["logit_bias"] == [[5, False], [6, 2.5]]
    assert 0 <= body["seed"] < 2**32 - 1
    assert body["grammar"] == "g"
    assert body["n_probs"] == 1


async def test_events_are_read_however_their_bytes_arrive():
    text = 'data: {"content":"a\u2028b\x85"}\n\n: ping\n\ndata: {"content":"c"}\n\n'.encode()
    expected = [{"content": "a\u2028b\x85"}, {"content": "c"}]
    assert await events_of(text) == expected
    assert await events_of(*(text[index : index + 1] for index in range(len(text)))) == expected


@pytest.mark.parametrize(
    "event", [b'data: {"error":{"message":"no room"}}\n\n', b'error: {"message":"no room"}\n\n']
)
async def test_an_error_among_the_events_is_raised(event):
    with pytest.raises(EngineError, match="no room"):
        await events_of(event)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":7}'])
def test_an_error_that_cannot_be_read_is_still_one(body):
    assert error_of(body) == "the engine answered with an error that cannot be read"


def test_a_piece_carries_its_tokens_and_their_probabilities():
    chance = {"token": "a", "bytes": [97], "logprob": -0.5}
    event = {"content": "a", "stop": False, "completion_probabilities": [chance | {"top_logprobs": [chance]}]}
    token = TokenChance("a", (97,), -0.5)
    assert completion_chunk(event) == CompletionChunk("a", (TokenLogprob(token, (token,)),))


@pytest.mark.parametrize(
    ("stop_type", "finish_reason"), [("eos", "stop"), ("word", "stop"), ("limit", "length")]
)
def test_the_last_piece_says_how_the_answer_ended(stop_type, finish_reason):
    completed = Completed(
        finish_reason=finish_reason, stop_text="###", num_completion_tokens=3, num_cached_tokens=7
    )
    assert completion_chunk(LAST | {"stop_type": stop_type}) == CompletionChunk("", (), completed)
