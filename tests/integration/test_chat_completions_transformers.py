"""A Hugging Face directory answers through the same routes as a GGUF file."""

import json
import warnings

import openai
import pytest

from finetune_server.bases import resolve_base
from finetune_server.training.base_model import hugging_face_dir
from tests.chat_server import ChatServer
from tests.openai_schemas import check_schema
from tests.tiny_base import write_tiny_base

QUESTION = [{"role": "user", "content": "What's 56/7?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "Calculator",
        "parameters": {
            "type": "object",
            "properties": {"num1": {"enum": [7, 56]}, "is_sure": {"type": "boolean"}},
            "required": ["num1", "is_sure"],
        },
    },
}


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    return write_tiny_base(tmp_path_factory.mktemp("base") / "tiny.gguf")


@pytest.fixture(scope="module")
def directory(gguf):
    return hugging_face_dir(resolve_base(str(gguf)), gguf.parent / "bases")


@pytest.fixture(scope="module")
def server(gguf, directory, tmp_path_factory):
    home = tmp_path_factory.mktemp("chat")
    with ChatServer(home) as server:
        server.store.add_base(str(directory))
        server.store.add_base(str(gguf))
        for seed in (1, 2):
            server.store.add_tuned(
                f"ft:{seed}", str(directory), peft=write_adapter(directory, home / f"{seed}", seed)
            )
        yield server
    assert not server.engines()


@pytest.fixture(scope="module")
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def base(directory):
    return str(directory)


def write_adapter(directory, path, seed: int):
    import torch  # noqa: PLC0415 - not for the tests that are deselected
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - as above
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - as above

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(directory)
    config = LoraConfig(r=4, target_modules=["q_proj", "o_proj"], init_lora_weights=False)
    with warnings.catch_warnings():
        # peft asks transformers by a name that this one is about to leave behind
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        get_peft_model(model, config).save_pretrained(path)
    return path


def ask(client, model, **request):
    return client.chat.completions.create(
        **{"model": model, "messages": QUESTION, "temperature": 0, "max_tokens": 12} | request
    )


def text(client, model, **request) -> str:
    return ask(client, model, **request).choices[0].message.content


def test_both_engines_read_the_same_prompt(server, base, gguf):
    body = {"messages": [{"role": "user", "content": "What's  56/7? <|im_end|> ü"}], "tools": [TOOL]}
    with server.http() as http:
        told = [http.post("/tokenize", json=body | {"model": model}).json() for model in (base, str(gguf))]
    assert told[0] == told[1]
    assert told[0]["max_model_len"] == 2048


def test_both_engines_begin_the_same_answer(client, base, gguf):
    assert text(client, base, max_tokens=3) == text(client, str(gguf), max_tokens=3)


def test_base_and_adapters_give_their_own_answers_in_any_order(client, base):
    models = [base, "ft:1", "ft:2"]
    first = {model: text(client, model) for model in models}
    assert len(set(first.values())) == 3
    assert {model: text(client, model) for model in reversed(models)} == first


def test_an_answer_is_what_openai_publishes(server, base):
    request = {"model": base, "messages": QUESTION, "max_tokens": 3, "logprobs": True, "top_logprobs": 2}
    with server.http() as http:
        answer = http.post("/chat/completions", json=request).json()
    check_schema("CreateChatCompletionResponse", answer)
    assert [len(token["top_logprobs"]) for token in answer["choices"][0]["logprobs"]["content"]] == [2, 2, 2]
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_forced_call_keeps_to_its_schema(client):
    choice = ask(client, "ft:1", tools=[TOOL], tool_choice="required", max_tokens=200).choices[0]
    arguments = json.loads(choice.message.tool_calls[0].function.arguments)
    assert arguments["num1"] in {7, 56}
    assert isinstance(arguments["is_sure"], bool)


def test_a_stop_text_ends_the_answer(client, base):
    whole = text(client, base)
    stop = whole[4:8]
    assert text(client, base, stop=stop) == whole.partition(stop)[0]


def test_a_seed_repeats_an_answer_and_a_small_share_leaves_the_likeliest_token(client, base):
    request = {"temperature": 1, "seed": 3}
    assert text(client, base, **request) == text(client, base, **request)
    assert text(client, base, **request) != text(client, base, **request | {"seed": 4})
    assert text(client, base, **request, top_p=0) == text(client, base)


def test_a_stream_says_what_the_plain_answer_says(client, base):
    parts = [chunk.choices[0].delta.content or "" for chunk in ask(client, base, stream=True)]
    assert len(parts) > 5
    assert "".join(parts) == text(client, base)


def test_a_client_that_goes_leaves_the_model_to_the_next_one(client, base):
    stream = ask(client, "ft:1", stream=True, max_tokens=1500)
    next(iter(stream))
    stream.close()
    assert text(client, base) == text(client, base)


@pytest.mark.parametrize(
    "wish", [{"logit_bias": {"5": 1}}, {"presence_penalty": 1}, {"frequency_penalty": 1}]
)
def test_what_this_engine_cannot_do_is_refused_and_named(client, base, wish):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, base, **wish)
    assert refused.value.param in wish
