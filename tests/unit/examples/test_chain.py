"""The calculator's chain, with the real ChatOpenAI over a transport that needs no socket."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import teacher
from chain import Calculator, build_chain
from langchain_openai import ChatOpenAI

Reply = Callable[[dict[str, Any]], dict[str, Any]]


def model_that(reply: Reply) -> ChatOpenAI:
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=reply(json.loads(request.content)))

    client = httpx.Client(transport=httpx.MockTransport(handle))
    return ChatOpenAI(model="m", api_key="k", base_url="http://teacher/v1", http_client=client, max_retries=0)


def calling(**arguments: Any) -> Reply:
    """Reply as the teacher does to a question that it knows."""

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        script = {request["messages"][-1]["content"]: arguments}
        return teacher.answer(script, "POST", "/v1/chat/completions", request)[1]

    return reply


@pytest.mark.parametrize("question", ["What's 56/7?", {"input": "What's 56/7?"}])
def test_the_chain_answers_with_the_number(question: Any) -> None:
    chain = build_chain(model_that(calling(num1=56, num2=7, operation="/")))
    assert chain.invoke(question) == 8.0


@pytest.mark.parametrize(("operation", "result"), [("+", 9.0), ("-", 3.0), ("*", 18.0), ("/", 2.0)])
def test_each_operation_is_computed(operation: str, result: float) -> None:
    assert Calculator(num1=6, num2=3, operation=operation).calculate() == result


def test_the_model_sees_the_notebooks_prompt_and_tool() -> None:
    seen: list[dict[str, Any]] = []

    def reply(request: dict[str, Any]) -> dict[str, Any]:
        seen.append(request)
        return calling(num1=1, num2=1, operation="+")(request)

    build_chain(model_that(reply)).invoke("What's 1+1?")
    assert seen[0]["messages"] == [
        {"role": "system", "content": "You are an accounting assistant."},
        {"role": "user", "content": "What's 1+1?"},
    ]
    function = seen[0]["tools"][0]["function"]
    assert function["name"] == "Calculator"
    assert function["description"] == "A calculator function"
    assert function["parameters"]["required"] == ["num1", "num2", "operation"]
    assert function["parameters"]["properties"]["operation"]["enum"] == ["+", "-", "*", "/"]


def test_dividing_by_zero_says_so() -> None:
    chain = build_chain(model_that(calling(num1=56, num2=0, operation="/")))
    with pytest.raises(ValueError, match=r"asked for 56/0: cannot divide by zero"):
        chain.invoke("What's 56/0?")


def test_an_answer_without_a_call_says_so() -> None:
    def reply(_: dict[str, Any]) -> dict[str, Any]:
        message = {"role": "assistant", "content": "Let me calculate that for you."}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    with pytest.raises(ValueError, match="without calling Calculator"):
        build_chain(model_that(reply)).invoke("What's 56/7?")
