"""Whether LangSmith takes the environment's key: asked once, without patience."""

from langchain_finetune.loaders._langsmith_api import LangSmithApi, new_client

_SECONDS = 10.0


def reach_langsmith(*, seconds: float = _SECONDS) -> str:
    """Ask LangSmith for one project, and return its URL.

    Args:
        seconds: How long an answer is waited for.

    Raises:
        AuthenticationFailedError: There is no key, or it is not accepted.
        HostError: LangSmith refused, or cannot be reached.
    """
    api = LangSmithApi(new_client())
    try:
        api.get_once("/sessions", {"limit": 1}, "its projects", seconds=seconds)
    finally:
        api.close()
    return api.url
