"""What each host of fine-tuning jobs is like, as data, and how `"provider:base"` names one."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from langchain_finetune.errors import UnknownProviderError


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host that speaks OpenAI's fine-tuning protocol."""

    name: str
    """The word before the colon of `"provider:base"`."""

    title: str
    """Its name for a person to read."""

    poll_interval_seconds: float
    """How often a waiting trainer looks at its job."""

    min_examples: int
    """Fewest training rows that a job may have."""

    model_grace_seconds: float
    """How long after a job's success its model may still be unknown to the host."""

    max_concurrency: int
    """Questions that a comparison asks at the same time, unless the caller's config says otherwise."""


LOCAL: Final = Host(
    name="local",
    title="the embedded server",
    poll_interval_seconds=0.5,
    min_examples=10,
    model_grace_seconds=0.0,
    max_concurrency=2,
)

OPENAI: Final = Host(
    name="openai",
    title="OpenAI",
    poll_interval_seconds=10.0,
    min_examples=10,
    model_grace_seconds=3600.0,
    max_concurrency=8,
)

HOSTS: Final = {host.name: host for host in (LOCAL, OPENAI)}


class Target(NamedTuple):
    """A base model at its host."""

    host: Host
    base: str


def parse_target(target: str) -> Target:
    """Split `"provider:base"` at its first colon.

    Raises:
        UnknownProviderError: The provider or the base is missing, or the provider is unknown.
    """
    provider, colon, base = target.partition(":")
    if colon and base and (host := HOSTS.get(provider)):
        return Target(host, base)
    known = ", ".join(f'"{name}:..."' for name in HOSTS)
    reason = f"there is no provider {provider!r}" if colon and base else "it has to be provider:base"
    msg = (
        f"cannot tell what {target!r} stands for: {reason}. Known providers: {known}. For any other host "
        'that speaks OpenAI\'s protocol give "openai:<base>" and `client=openai.OpenAI(base_url=...)`.'
    )
    raise UnknownProviderError(msg)


def host_of(provider: str | None) -> Host:
    """Return the host of a tuned model's metadata; a provider that is not listed speaks OpenAI's protocol."""
    return HOSTS.get(provider or "", OPENAI)
