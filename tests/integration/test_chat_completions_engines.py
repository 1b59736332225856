"""The engines behind the chat: one child per base, replaced without a pause, and never left behind."""

import itertools
import os
import signal
import threading
import time

import httpx
import openai
import psutil
import pytest

from tests.chat_server import ChatServer
from tests.random_adapter import write_random_adapter
from tests.server_process import ServerProcess
from tests.tiny_base import write_tiny_base

WHEEL_BASE = "smollm2-135m-instruct"
QUESTION = [{"role": "user", "content": "What's 56/7?"}]
NUM_ROUNDS = 10
NEVER_END = {"0": -100, "2": -100}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(write_tiny_base(tmp_path_factory.mktemp("base") / "tiny.gguf"))


@pytest.fixture
def server(base, tmp_path):
    with ChatServer(tmp_path) as server:
        server.store.add_base(base)
        for name, seed in (("ft:a", 1), ("ft:b", 2)):
            server.store.add_tuned(
                name, base, gguf=write_random_adapter(tmp_path / f"{seed}.gguf", seed=seed)
            )
        yield server
    assert not server.engines()


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def ask(client, model, **request):
    return client.chat.completions.create(
        **{"model": model, "messages": QUESTION, "temperature": 0, "max_tokens": 20} | request
    )


def text(client, model, **request) -> str:
    return ask(client, model, **request).choices[0].message.content


def first_token(client, model, messages) -> tuple[str, float]:
    """The word that an answer begins with, and its logprob.

    The last bits of a sum depend on what else is computed at once, and random weights tell two words apart by
    little: behind its first words an answer may take another way.
    """
    (token,) = ask(client, model, messages=messages, max_tokens=1, logprobs=True).choices[0].logprobs.content
    return token.token, token.logprob


def endless(client, model, num_tokens=1000):
    """A stream that has begun, and will not end by itself before that many tokens."""
    stream = ask(client, model, stream=True, max_tokens=num_tokens, logit_bias=NEVER_END)
    next(stream)
    return stream


def test_base_and_two_adapters_give_their_own_answers_in_turn_and_at_once(server, client, base):
    """Prompts that begin alike, and fewer slots than models: no answer takes over what another has read."""
    beginning = "Tell me all that you know of the sea and of the ships. " * 2
    questions = [[{"role": "user", "content": f"{beginning}{number}"}] for number in range(4)]
    asked = list(itertools.product([base, "ft:a", "ft:b"], range(len(questions))))
    alone = {(model, number): first_token(client, model, questions[number]) for model, number in asked}
    assert len(set(alone.values())) == len(asked)
    together = []

    def run(model: str, number: int) -> None:
        together.append(((model, number), first_token(client, model, questions[number])))

    for _ in range(NUM_ROUNDS):
        threads = [threading.Thread(target=run, args=one) for one in asked]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(together) == NUM_ROUNDS * len(asked)
    for one, (token, logprob) in together:
        assert (token, pytest.approx(logprob, abs=0.05)) == alone[one]
    assert len(server.engines()) == 1


def test_more_answers_than_the_context_holds_wait_for_each_other(server, client, base):
    """Four answers of 900 tokens in a context of 2,048: llama.cpp would end all of them with an error."""
    text(client, base)
    answers = []

    def run(number: int) -> None:
        messages = [{"role": "user", "content": f"Say {number}."}]
        answers.append(ask(client, base, messages=messages, max_tokens=900, logit_bias=NEVER_END))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.usage.completion_tokens for answer in answers] == [900] * 4


def test_a_new_adapter_gets_a_second_engine_and_the_first_finishes_its_answer(server, client, base, tmp_path):
    others = {text(client, base), text(client, "ft:a")}
    stream = endless(client, "ft:a")
    (first,) = server.engines()
    first.suspend()
    server.store.add_tuned("ft:c", base, gguf=write_random_adapter(tmp_path / "3.gguf", seed=3))
    assert text(client, "ft:c") not in others
    assert len(server.engines()) == 2
    first.resume()
    assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"
    first.wait(timeout=10)
    assert len(server.engines()) == 1


def test_a_killed_engine_is_started_again_by_the_next_request(server, client):
    before = text(client, "ft:a", max_tokens=1)
    (first,) = server.engines()
    first.kill()
    assert text(client, "ft:a").startswith(before)
    (second,) = server.engines()
    assert second.pid != first.pid


@pytest.mark.parametrize("num_tokens", [1, 600])
def test_an_engine_killed_before_the_client_got_anything_costs_nothing_but_time(server, client, num_tokens):
    request = {"max_tokens": num_tokens, "logit_bias": NEVER_END}
    before = text(client, "ft:a", **request | {"max_tokens": 1})
    answers = []
    thread = threading.Thread(target=lambda: answers.append(text(client, "ft:a", **request)))
    (first,) = server.engines()
    if num_tokens == 1:
        first.suspend()
    thread.start()
    time.sleep(0.2)
    first.kill()
    thread.join()
    assert answers[0].startswith(before)


def test_an_engine_killed_in_the_middle_of_a_stream_is_told_and_may_be_tried_again(server, client):
    stream = endless(client, "ft:a", 1900)
    (first,) = server.engines()
    first.kill()
    with pytest.raises(openai.APIError, match=r"engine of the base model .* ended with code -9") as told:
        list(stream)
    assert told.value.code == "inference_engine_failed"
    assert text(client, "ft:a")


def test_a_damaged_adapter_fails_alone(server, client, base, tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF and nothing behind it")
    server.store.add_tuned("ft:damaged", base, gguf=damaged)
    with pytest.raises(openai.InternalServerError, match="did not start for the base model"):
        ask(client, "ft:damaged")
    assert text(client, "ft:a") != text(client, base)


def test_a_model_whose_adapter_is_gone_is_not_there(server, client, tmp_path):
    (tmp_path / "2.gguf").unlink()
    with pytest.raises(openai.NotFoundError, match="ft:b"):
        ask(client, "ft:b")
    assert text(client, "ft:a")


def test_a_base_that_is_gone_is_not_there(server, client, tmp_path):
    server.store.add_base(str(tmp_path / "gone.gguf"))
    with pytest.raises(openai.NotFoundError, match=r"gone\.gguf"):
        ask(client, str(tmp_path / "gone.gguf"))


def test_a_third_base_takes_the_place_of_the_one_used_longest_ago(server, client, base, tmp_path):
    others = [str(write_tiny_base(tmp_path / f"{seed}" / "tiny.gguf", seed=seed)) for seed in (5, 6)]
    for model in (base, *(server.store.add_base(other) for other in others)):
        assert text(client, model)
    for _ in range(100):
        if len(server.engines()) == 2:
            break
        time.sleep(0.1)
    assert len(server.engines()) == 2
    assert text(client, base)


def test_no_engine_outlives_a_killed_server(tmp_path):
    server = ServerProcess(tmp_path / "server").start()
    try:
        with server.client() as client:
            ask(client, WHEEL_BASE, max_tokens=1)
        (engine,) = psutil.Process(server.process.pid).children()
        os.kill(server.process.pid, signal.SIGKILL)
        engine.wait(timeout=5)
    finally:
        server.process.wait()


def test_no_engine_outlives_a_stopped_server(tmp_path):
    server = ServerProcess(tmp_path / "server").start()
    try:
        with server.client() as client:
            stream = ask(client, WHEEL_BASE, max_tokens=8000, stream=True, logit_bias=NEVER_END)
            next(stream)
            (engine,) = psutil.Process(server.process.pid).children()
            stream.close()
        assert server.stop() == 0
        assert not engine.is_running()
    finally:
        server.close()


def test_an_engine_answers_only_who_has_its_key(server, client, base):
    text(client, base)
    (engine,) = server.engines()
    (address,) = {each.laddr for each in engine.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    assert address.ip == "127.0.0.1"
    url = f"http://127.0.0.1:{address.port}"
    assert httpx.post(f"{url}/completion", json={"prompt": "a"}).status_code == 401
    for path in ("/", "/slots", "/props"):
        assert httpx.get(url + path).status_code in {401, 404}


def test_nothing_that_was_asked_stands_in_the_log(server, client):
    text(client, "ft:a", messages=[{"role": "user", "content": "my secret is xyzzy"}])
    with pytest.raises(openai.BadRequestError):
        ask(client, "ft:a", messages=[{"role": "user", "content": "xyzzy " * 9000}])
    assert "xyzzy" not in server.engine_log.read_text()
