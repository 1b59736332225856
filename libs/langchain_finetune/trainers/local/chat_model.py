"""A ChatOpenAI of the embedded server: it starts the server where it is gone, and counts tokens exactly."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented
from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_openai import ChatOpenAI
from pydantic import model_validator
from typing_extensions import override

from langchain_finetune._spool import state_directory
from langchain_finetune.trainers.local.server import local_server


class LocalChatOpenAI(ChatOpenAI):
    """A model of the embedded server.

    It is a `ChatOpenAI` in everything, and works on after the server has ended for want of work: the next
    call starts it. Tokens are counted by the server with the model's own tokenizer and prompt format.

    ```python
    model = LocalChatOpenAI(model="ft:smollm2-135m-instruct:local::a1b2c3d4")
    ```

    Args:
        model: A name that the server knows: a tuned model or a base.
        base_url: Where the server is; without it and the key, the server of the state directory is found
            or started.
    """

    @model_validator(mode="before")
    @classmethod
    def _reach_the_server(cls, values: dict[str, Any]) -> dict[str, Any]:
        server = local_server(state_directory() / "server")
        url, key = (_given(values, *names) for names in (_URL_NAMES, _KEY_NAMES))
        if not (url and key):
            endpoint = server.endpoint()
            values = {name: value for name, value in values.items() if name not in (*_URL_NAMES, *_KEY_NAMES)}
            values |= {"base_url": endpoint.base_url, "api_key": endpoint.api_key}
        return {
            "http_client": server.http_client,
            "http_async_client": server.async_http_client,
            **values,
            # A proxy of the environment has no business on the loopback.
            "openai_proxy": None,
        }

    @classmethod
    @override
    def get_lc_namespace(cls) -> list[str]:
        return ["langchain_finetune", "trainers", "local", "chat_model"]

    @override
    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        # The base class dumps a reference to OPENAI_API_KEY: loaded again, the model would send this server
        # the key for OpenAI. Without any, it takes the key of the state directory.
        dumped = super().to_json()
        if dumped["type"] == "constructor":
            for name in _KEY_NAMES:
                dumped["kwargs"].pop(name, None)
        return dumped

    @override
    def get_token_ids(self, text: str) -> list[int]:
        return cast("list[int]", self._tokenize(prompt=text)["tokens"])

    @override
    def get_num_tokens_from_messages(
        self,
        messages: Sequence[BaseMessage],
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
        *,
        allow_fetching_images: bool = True,
    ) -> int:
        payload: dict[str, Any] = {"messages": self._get_request_payload(list(messages))["messages"]}
        if tools:
            payload["tools"] = [convert_to_openai_tool(tool) for tool in tools]
        return cast("int", self._tokenize(**payload)["count"])

    def _tokenize(self, **body: Any) -> dict[str, Any]:
        answer = self.root_client.post("/tokenize", body={"model": self.model_name, **body}, cast_to=object)
        return cast("dict[str, Any]", answer)


_URL_NAMES = ("base_url", "openai_api_base")
_KEY_NAMES = ("api_key", "openai_api_key")


def _given(values: dict[str, Any], *names: str) -> Any:
    return next((values[name] for name in names if values.get(name)), None)
