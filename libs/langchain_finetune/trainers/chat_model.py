"""The ready chat model of a job: called where it was trained, with a profile and a token count that work."""

from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import ModelProfile
from langchain_openai import ChatOpenAI

from langchain_finetune.base_names import base_of, without_date
from langchain_finetune.handles import OWN_TRAFFIC_KEY
from langchain_finetune.hosts import OPENAI
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.hosts.openai_clients import account_of
from langchain_finetune.trainers.jobs.job_state import JobState
from langchain_finetune.trainers.jobs.key import DATA_FIELD
from langchain_finetune.trainers.local.chat_model import LocalChatOpenAI


def ready_chat_model(
    job: JobState,
    model: Mapping[str, Any],
    connection: Connection,
    settings: Mapping[str, Any],
    name: str | None = None,
) -> ChatOpenAI:
    """Return the chat model of a job that has succeeded.

    Args:
        job: The job.
        model: The host's model object, empty where it tells nothing.
        connection: Where the job was done: URL and key go to the model as they are, so that no variable
            of the environment sends the one here and the other there.
        settings: What the caller wants of the chat model.
        name: What the model is called by where that is not its own name, such as that of a deployment.
    """
    client = connection.client
    endpoint = connection.endpoint
    host = connection.host
    given: dict[str, Any] = {
        "stream_usage": True,
        **settings,
        "model": name or job.model,
        "base_url": endpoint.base_url,
        "api_key": endpoint.api_key,
        "metadata": {**(settings.get("metadata") or {}), **_metadata(job, host.name)},
    }
    if connection.server is not None:
        return LocalChatOpenAI(**{"profile": _local_profile(model), **given})
    organization, project = account_of(client) if host.extra is None else (None, None)
    if organization:
        given.setdefault("organization", organization)
    if project:
        given["default_headers"] = {"OpenAI-Project": project, **(given.get("default_headers") or {})}
    base = base_of(job.base)
    # `ft:gpt-4.1...` is taken for a gpt-4 by tiktoken, and has no profile.
    ready = ChatOpenAI(**{"tiktoken_model_name": base, "profile": _openai_profile(base, given), **given})
    if host is not OPENAI:
        # The chat model takes both from the environment too; they are no other host's business.
        for root in (ready.root_client, ready.root_async_client):
            root.organization, root.project = given.get("organization"), None
    return ready


def _metadata(job: JobState, provider: str) -> dict[str, str]:
    metadata = {
        OWN_TRAFFIC_KEY: job.id,
        "langchain_finetune_provider": provider,
        "langchain_finetune_base": job.base,
    }
    if fingerprint := job.metadata.get(DATA_FIELD):
        metadata[DATA_FIELD] = fingerprint
    return metadata


def _openai_profile(base: str, given: Mapping[str, Any]) -> ModelProfile | None:
    """Return the profile of a base, or of the model that its dated name is a snapshot of."""
    connection = {key: given[key] for key in ("base_url", "api_key")}
    for name in (base, without_date(base)):
        if profile := ChatOpenAI(model=name, **connection).profile:
            return profile
    return None


def _local_profile(model: Mapping[str, Any]) -> ModelProfile:
    profile = ModelProfile(
        text_inputs=True,
        image_inputs=False,
        audio_inputs=False,
        video_inputs=False,
        text_outputs=True,
        tool_calling=True,
        tool_choice=True,
        structured_output=True,
        temperature=True,
        open_weights=True,
    )
    if isinstance(limit := model.get("max_model_len"), int):
        profile["max_input_tokens"] = limit
        profile["max_output_tokens"] = limit
    return profile
