"""The large model, as a script: an endpoint of OpenAI's chat protocol that knows each answer beforehand.

It stands in for the model whose runs a team would have in LangSmith, so that the example can be recorded
again by anyone, without an account, to the same tool calls.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from loopback import serve

MODEL: Final = "gpt-4.1-mini"
TOOL: Final = "Calculator"

Script = Mapping[str, dict[str, Any] | HTTPStatus]
"""By question: the arguments of the `Calculator` call, or the error that the endpoint answers with."""


@contextmanager
def scripted_teacher(script: Script) -> Iterator[str]:
    """Serve the script and yield the `base_url` for `ChatOpenAI`."""
    with serve(partial(answer, script)) as url:
        yield f"{url}/v1"


def answer(script: Script, method: str, path: str, request: Any) -> tuple[int, dict[str, Any]]:
    """Answer `POST /v1/chat/completions` as the script says."""
    if (method, path) != ("POST", "/v1/chat/completions"):
        return HTTPStatus.NOT_FOUND, _error(f"the teacher does not serve {method} {path}")
    question = request["messages"][-1]["content"]
    scripted = script.get(question, HTTPStatus.BAD_REQUEST)
    if isinstance(scripted, HTTPStatus):
        return scripted, _error(f"the scripted teacher answers this question with {scripted.phrase}")
    return HTTPStatus.OK, _completion(request, question, json.dumps(scripted))


def _completion(request: dict[str, Any], question: str, arguments: str) -> dict[str, Any]:
    digest = hashlib.sha256(question.encode()).hexdigest()
    call = {"name": TOOL, "arguments": arguments}
    if "functions" in request:
        finish_reason, calls = "function_call", {"function_call": call}
    else:
        tool_call = {"id": f"call_{digest[:24]}", "type": "function", "function": call}
        finish_reason, calls = "tool_calls", {"tool_calls": [tool_call]}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, **calls},
        "finish_reason": finish_reason,
    }
    return {
        "id": f"chatcmpl-{digest[:29]}",
        "object": "chat.completion",
        "created": 1767225600,
        "model": request["model"],
        "choices": [choice],
        "usage": _usage(json.dumps(request), arguments),
    }


def _usage(prompt: str, completion: str) -> dict[str, int]:
    """Estimate the tokens: four characters each."""
    num_prompt, num_completion = len(prompt) // 4, len(completion) // 4
    return {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_completion,
        "total_tokens": num_prompt + num_completion,
    }


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "server_error", "param": None, "code": None}}
