"""The scripted teacher speaks OpenAI's chat protocol."""

import json
from http import HTTPStatus
from typing import Any

import pytest
import teacher

SCRIPT = {
    "What's 56/7?": {"num1": 56, "num2": 7, "operation": "/"},
    "What's 1+1?": HTTPStatus.TOO_MANY_REQUESTS,
}


def ask(question: str, **more: Any) -> tuple[int, dict[str, Any]]:
    request = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": question}], **more}
    return teacher.answer(SCRIPT, "POST", "/v1/chat/completions", request)


def test_tools_are_answered_with_a_tool_call() -> None:
    status, completion = ask("What's 56/7?", tools=[{}])
    choice = completion["choices"][0]
    assert status == 200
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"] == {
        "name": "Calculator",
        "arguments": '{"num1": 56, "num2": 7, "operation": "/"}',
    }


def test_functions_are_answered_with_a_function_call() -> None:
    _, completion = ask("What's 56/7?", functions=[{}])
    choice = completion["choices"][0]
    assert choice["finish_reason"] == "function_call"
    assert json.loads(choice["message"]["function_call"]["arguments"]) == SCRIPT["What's 56/7?"]
    assert "tool_calls" not in choice["message"]


def test_the_same_question_has_the_same_answer() -> None:
    assert ask("What's 56/7?", tools=[{}]) == ask("What's 56/7?", tools=[{}])


@pytest.mark.parametrize(("question", "status"), [("What's 1+1?", 429), ("What's 2+2?", 400)])
def test_scripted_failures_and_unknown_questions_are_errors(question: str, status: int) -> None:
    answered, body = ask(question)
    assert answered == status
    assert body["error"]["message"]


def test_other_paths_are_not_served() -> None:
    assert teacher.answer(SCRIPT, "GET", "/v1/models", None)[0] == 404
