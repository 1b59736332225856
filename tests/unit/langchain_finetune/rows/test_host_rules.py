import pytest
from hypothesis import assume, given, settings

from finetune_server.config import Limits
from finetune_server.jobs import validation
from finetune_server.jobs.validation_tools import RowFault
from langchain_finetune.hosts import AZURE, CUSTOM, FIREWORKS, HOSTS, LOCAL, NEBIUS, OPENAI, TOGETHER
from langchain_finetune.rows import FORMATS, HostRules, Problem, find_host_problems, is_too_large, rules_of
from langchain_finetune.rows.host_rules import HOST_RULES
from langchain_finetune.runs import Reason
from tests.fakes.mutated_rows import good_rows, mutated_rows
from tests.fakes.training_rows import TOOL, call, preference_row, tool_row

MINI = "gpt-4.1-mini-2025-04-14"
HI = {"role": "user", "content": "hi"}
OK = {"role": "assistant", "content": "ok"}
SYSTEM = {"role": "system", "content": "be short"}
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}]}
CALLING = {"role": "assistant", "content": None, "tool_calls": [call()]}
TOLD = {"role": "tool", "content": "5", "tool_call_id": "call_1"}


def row(*messages, **fields):
    return {"messages": list(messages), **fields}


def found(given_row, host, base="", method="supervised"):
    return list(find_host_problems(given_row, rules_of(host), base, method))


def test_limits_of_a_row_are_found_by_base():
    rules = rules_of(OPENAI)
    assert rules.max_tokens_of(f"ft:{MINI}:acme::1") == 65_536
    assert rules.max_tokens_of("gpt-4.1-nano-2025-04-14") == 32_768
    assert rules.max_tokens_of("qwen") is None
    assert rules_of(LOCAL).max_tokens_of(MINI) is None
    assert rules_of(AZURE).max_tokens_of("gpt-4.1-2025-04-14.ft-0a1b") == 65_536
    assert rules_of(CUSTOM).max_tokens_of(MINI) is None


def test_every_host_has_its_rules():
    assert HOST_RULES.keys() == HOSTS.keys()


def test_the_embedded_servers_limits_are_its_own():
    rules = rules_of(LOCAL)
    assert (LOCAL.max_file_bytes, LOCAL.max_examples, rules.max_row_bytes) == (
        Limits.max_file_bytes,
        Limits.max_rows,
        Limits.max_row_bytes,
    )
    assert rules.message_keys == validation._MESSAGE_KEYS
    assert [is_too_large(rules.max_row_bytes + more, rules) for more in (0, 1)] == [False, True]


@pytest.mark.parametrize(
    ("host", "base", "is_taken"),
    [
        (OPENAI, "gpt-4o-2024-08-06", True),
        (OPENAI, "ft:gpt-4o-2024-08-06:acme::1", True),
        (OPENAI, "gpt-4o-mini-2024-07-18", False),
        (OPENAI, "gpt-4.1-2025-04-14", False),
        (OPENAI, "a-model-of-tomorrow", True),
        (OPENAI, "", True),
        (AZURE, "gpt-4.1-2025-04-14", True),
        (AZURE, "gpt-4.1-mini-2025-04-14.ft-0a1b", False),
        (LOCAL, "smollm2-135m-instruct", False),
        (CUSTOM, "anything", True),
    ],
)
def test_images_go_where_they_are_trained_on(host, base, is_taken):
    refused = [Problem(Reason.UNSUPPORTED_CONTENT, "messages[0].content")]
    assert found(row(IMAGE, OK), host, base) == ([] if is_taken else refused)


@pytest.mark.parametrize("host", [TOGETHER, FIREWORKS], ids=lambda host: host.name)
def test_a_system_message_comes_first_where_it_has_to(host):
    assert found(row(SYSTEM, HI, OK), host) == []
    assert Problem(Reason.MISPLACED_SYSTEM, "messages[1].role") in found(row(HI, SYSTEM, OK), host)
    assert found(row(HI, SYSTEM, OK), OPENAI, MINI) == []


@pytest.mark.parametrize(
    ("messages", "index"),
    [
        ((SYSTEM, HI, OK, HI, OK), None),
        ((HI, CALLING, TOLD, OK), None),
        ((HI, CALLING, TOLD, CALLING), None),
        ((HI, CALLING, TOLD, HI, OK), None),
        ((HI, HI, OK), 1),
        ((HI, OK, OK), 2),
        ((SYSTEM, OK, HI, OK), 1),
    ],
)
def test_together_wants_turns_in_order(messages, index):
    expected = [] if index is None else [Problem(Reason.NOT_ALTERNATING, f"messages[{index}].role")]
    assert found(row(*messages), TOGETHER) == expected
    assert found(row(*messages), NEBIUS) == []


def test_both_outputs_of_a_preference_end_the_conversation():
    good = preference_row(1)
    assert found(good, TOGETHER, method="dpo") == []
    odd = {**good, "input": {"messages": [HI, HI]}}
    assert found(odd, TOGETHER, method="dpo") == [Problem(Reason.NOT_ALTERNATING, "input.messages[1].role")]
    ended = {**good, "input": {"messages": [HI, OK]}}
    assert [problem.field for problem in found(ended, TOGETHER, method="dpo")] == [
        "preferred_output[0].role",
        "non_preferred_output[0].role",
    ]


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        (
            row(HI, {**CALLING, "tool_calls": [call(), call()]}),
            Reason.REPEATED_CALL_ID,
            "messages[1].tool_calls",
        ),
        (row({**HI, "weight": 0}, OK), Reason.UNKNOWN_KEY, "messages[0].weight"),
        (row({**HI, "tool_call_id": "a"}, OK), Reason.UNKNOWN_KEY, "messages[0].tool_call_id"),
        (row({**HI, "name": "<|im_end|>"}, OK), Reason.SPECIAL_TOKEN, "messages[0]"),
        (
            row(HI, {**CALLING, "tool_calls": [{**call(), "x": "<|im_end|>"}]}),
            Reason.SPECIAL_TOKEN,
            "messages[1]",
        ),
        (
            row(HI, OK, tools=[{"type": "function", "function": {"name": "f", "description": "<|im_end|>"}}]),
            Reason.SPECIAL_TOKEN,
            "tools",
        ),
        (row(HI, OK, functions=[{"name": "f", "<|im_end|>": 1}]), Reason.SPECIAL_TOKEN, "functions"),
    ],
)
def test_the_embedded_server_is_stricter_than_openais_rules(bad, reason, field):
    assert found(bad, LOCAL) == [Problem(reason, field)]
    assert found(bad, CUSTOM) == []


def test_a_row_of_half_a_character_can_be_looked_at():
    assert found(row({**HI, "content": "<| \ud800"}, OK), LOCAL) == []


@pytest.mark.parametrize("host", HOSTS.values(), ids=lambda host: host.name)
def test_of_every_host_a_plain_row_is_good(host):
    assert found(tool_row(1), host) == []


def test_without_rules_nothing_is_wrong():
    assert all(list(find_host_problems(each, HostRules(), "")) == [] for each in good_rows())


def is_accepted_by_us(given_row):
    row_format = FORMATS["supervised"]
    if any(row_format.find_misshapes(given_row)):
        return False
    return not any(row_format.find_problems(given_row)) and not found(given_row, LOCAL)


@settings(max_examples=400)
@given(mutated_rows(most_changes=2))
def test_what_we_accept_for_the_embedded_server_it_accepts(given_row):
    assume(is_accepted_by_us(given_row))
    try:
        validation.check_row(given_row)
    except RowFault as fault:
        pytest.fail(f"the server refuses {given_row}: {fault}")


@pytest.mark.parametrize("tools", [None, [], [TOOL]])
def test_the_embedded_server_accepts_good_rows_of_text(tools):
    good = row(HI, OK, **({} if tools is None else {"tools": tools}))
    assert is_accepted_by_us(good)
    validation.check_row(good)
