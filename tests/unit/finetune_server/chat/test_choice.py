"""Tools and functions say the same things in two dialects."""

import pytest

from finetune_server.chat.choice import tool_use
from finetune_server.chat.request import ChatRequest
from finetune_server.errors import ApiError

A, B = ({"type": "function", "function": {"name": name}} for name in "ab")


def use(**more):
    return tool_use(ChatRequest.model_validate({"model": "m", "messages": [{"role": "user"}]} | more))


def test_without_tools_nothing_is_called():
    for nothing in ({}, {"tools": []}, {"tools": [A], "tool_choice": "none"}):
        found = use(**nothing)
        assert (found.offered, found.calls) == ((), "none")
    assert use(functions=[A["function"]], function_call="none").offered == ()


@pytest.mark.parametrize("choice", [None, "auto"])
def test_the_model_may_call_unless_told_otherwise(choice):
    found = use(tools=[A, B], tool_choice=choice)
    assert (found.offered, found.callable_now, found.calls) == ((A, B), (A, B), "allowed")
    assert not found.is_single_call
    assert not found.is_legacy


def test_a_call_can_be_required_of_any_tool_or_of_one():
    found = use(tools=[A, B], tool_choice="required")
    assert (found.callable_now, found.calls, found.is_single_call) == ((A, B), "required", False)
    named = use(tools=[A, B], tool_choice={"type": "function", "function": {"name": "b"}})
    assert (named.offered, named.callable_now, named.calls) == ((A, B), (B,), "required")
    assert named.is_single_call


def test_allowed_tools_are_all_that_is_shown():
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [B]}}
    found = use(tools=[A, B], tool_choice=allowed)
    assert (found.offered, found.callable_now, found.calls) == ((B,), (B,), "required")


def test_parallel_calls_can_be_switched_off():
    assert use(tools=[A], parallel_tool_calls=False).is_single_call


@pytest.mark.parametrize(
    ("choice", "calls"), [(None, "allowed"), ("auto", "allowed"), ({"name": "a"}, "required")]
)
def test_legacy_functions_make_one_call_at_most(choice, calls):
    found = use(functions=[A["function"]], function_call=choice)
    assert (found.offered, found.callable_now, found.calls) == ((A,), (A,), calls)
    assert found.is_legacy
    assert found.is_single_call


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"tools": [A], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [A], "tool_choice": {"type": "function", "function": {"name": "c"}}}, "tool_choice"),
        ({"tools": [A], "tool_choice": {"name": "a"}}, "tool_choice"),
        ({"tools": [A], "tool_choice": {"type": "custom", "custom": {"name": "a"}}}, "tool_choice"),
        (
            {
                "tools": [A],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "x", "tools": []}},
            },
            "tool_choice",
        ),
        ({"functions": [{"name": "a"}], "function_call": "required"}, "function_call"),
        ({"functions": [{"name": "a"}], "function_call": {"name": "c"}}, "function_call"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(wrong, param):
    with pytest.raises(ApiError) as refused:
        use(**wrong)
    assert (refused.value.status, refused.value.param) == (400, param)
