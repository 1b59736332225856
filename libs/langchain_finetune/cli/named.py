"""Which chat model a word on the command line stands for."""

import sys
from pathlib import Path
from typing import Any, Final

import click

from langchain_finetune.cli.options import host_settings
from langchain_finetune.errors import AliasNotFoundError, SourceError
from langchain_finetune.hosts import HOSTS

MODEL_HELP: Final = """MODEL is one of

\b
  calculator@production     an alias
  local:ft:smollm2...       provider:model, tuned or not
  openai:ftjob-abc          a job's model; ftjob-abc for one of this machine
  model.json, -             what `train --json` printed
"""

_JOB: Final = "ftjob-"


def model_at(word: str, base_url: str | None = None, api_key_env: str | None = None, **settings: Any) -> Any:
    """Return the chat model of a word: see `MODEL_HELP`.

    Raises:
        UsageError: It is no provider's model, no job and no alias.
        HostError: The host refused, or cannot be reached.
    """
    # Where a model is called brings in openai, which takes seconds.
    from langchain_finetune.trainers import chat_model, job_named
    from langchain_finetune.trainers.job_list import is_ordered

    if word == "-" or (word.endswith(".json") and Path(word).is_file()):
        return _handed_over(word).to_chat_model(**settings)
    reached = host_settings(base_url, api_key_env)
    provider, colon, name = word.partition(":")
    is_at_provider = bool(colon) and provider in HOSTS
    job_id = name if is_at_provider else word
    if job_id.startswith(_JOB) or is_ordered(job_id):
        return job_named(word, **reached, chat_model_kwargs=settings or None).to_chat_model()
    if is_at_provider or base_url is not None:
        return chat_model(word, **reached, **settings)
    from langchain_finetune.serving import AliasStore

    try:
        return AliasStore().resolve(word).to_chat_model(**settings)
    except AliasNotFoundError as e:
        msg = (
            f"{word!r} is no alias, no job of this machine and no provider:model: `models list` and "
            "`models alias` show what there is."
        )
        raise click.UsageError(msg) from e


def _handed_over(word: str) -> Any:
    from pydantic import ValidationError

    from langchain_finetune._parsing import loads
    from langchain_finetune.handles import FineTunedModel

    try:
        told = loads(sys.stdin.buffer.read() if word == "-" else Path(word).read_bytes())
        return FineTunedModel.model_validate(
            {name: value for name, value in told.items() if name != "reused"}
        )
    except (ValidationError, ValueError, AttributeError, OSError) as e:
        origin = "standard input" if word == "-" else word
        msg = f"{origin} tells of no tuned model: give what `langchain-finetune train --json` prints."
        raise SourceError(msg) from e
