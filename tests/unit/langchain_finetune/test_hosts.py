import pytest

from langchain_finetune.errors import UnknownProviderError
from langchain_finetune.hosts import HOSTS, LOCAL, OPENAI, host_of, parse_target


@pytest.mark.parametrize(
    ("target", "host", "base"),
    [
        ("local:smollm2-135m-instruct", LOCAL, "smollm2-135m-instruct"),
        ("openai:gpt-4.1-mini-2025-04-14", OPENAI, "gpt-4.1-mini-2025-04-14"),
        ("openai:ft:gpt-4.1-mini-2025-04-14:me::abc", OPENAI, "ft:gpt-4.1-mini-2025-04-14:me::abc"),
        ("local:/models/a:b.gguf", LOCAL, "/models/a:b.gguf"),
    ],
)
def test_a_target_is_split_at_its_first_colon(target, host, base):
    assert parse_target(target) == (host, base)


@pytest.mark.parametrize("target", ["", "gpt-4.1", "opnai:gpt-4.1", ":gpt-4.1", "local:", "ft:gpt-4.1:a::b"])
def test_a_target_without_a_known_provider_is_refused_and_the_providers_are_listed(target):
    with pytest.raises(UnknownProviderError) as caught:
        parse_target(target)
    assert repr(target) in str(caught.value)
    assert all(f"{name}:" in str(caught.value) for name in HOSTS)


def test_an_unlisted_provider_of_a_model_counts_as_speaking_openais_protocol():
    assert (host_of("local"), host_of(None), host_of("elsewhere")) == (LOCAL, OPENAI, OPENAI)
