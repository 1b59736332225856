"""Order a training from `app.py`, wait for it, and ask the model behind the alias: `python client.py`."""

import os
import sys
import time
from typing import Any

from langchain_openai import ChatOpenAI

from langchain_finetune import FineTunedModel, SubmittedJob
from langchain_finetune.serving.langserve import remote_pipeline

ENDED = {"failed", "cancelled", "interrupted"}


def trained(
    url: str, key: str | None, selection: dict[str, Any], pause_seconds: float = 2.0
) -> FineTunedModel:
    """Order a training and return its model.

    Args:
        url: Where `app.py` listens.
        key: Its key, where it asks for one.
        selection: Which runs to train on; `{}` is what the application has set.
        pause_seconds: Between two looks.
    """
    pipeline = remote_pipeline(f"{url}/finetune", api_key=key, timeout=30)
    outcome = pipeline.invoke(selection)
    while isinstance(outcome, SubmittedJob):
        print(f"{outcome.status} {outcome.job_id or ''}", file=sys.stderr)
        if outcome.status in ENDED:
            sys.exit(f"{outcome.error_code}: {outcome.error}")
        time.sleep(pause_seconds)
        outcome = pipeline.invoke(outcome)  # an order for an input starts nothing
    return outcome


def model_behind_the_alias(url: str, key: str | None) -> ChatOpenAI:
    """Return the model as an application asks for it, now and after every promotion."""
    return ChatOpenAI(
        model="calculator",  # the alias in the URL says which model answers
        base_url=f"{url}/model/calculator@production/v1",
        api_key=key or "none",
    )


def main() -> None:
    """Train and ask."""
    url, key = os.environ.get("APP_URL", "http://127.0.0.1:8000"), os.environ.get("APP_KEY")
    tuned = trained(url, key, {})
    print(tuned.model)
    calculator = {"type": "function", "function": {"name": "Calculator", "parameters": {"type": "object"}}}
    answer = model_behind_the_alias(url, key).bind_tools([calculator]).invoke("What's 56/7?")
    print(answer.tool_calls or answer.content)


if __name__ == "__main__":
    main()
