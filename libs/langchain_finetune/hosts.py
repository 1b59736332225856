"""What each host of fine-tuning jobs is like, as data, and how `"provider:base"` names one.

The figures are the hosts' own, as documented on `FACTS_DATE`; docs/providers.md shows them as a table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from langchain_finetune.errors import SettingError, UnknownProviderError

FACTS_DATE: Final = "2026-11-22"
"""Day on which what stands here was read in the hosts' documentation and SDKs."""

_MB: Final = 10**6
_GB: Final = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameter:
    """What a host takes for one hyperparameter."""

    kind: Literal["int", "float", "bool", "str"]
    low: float | None = None
    """Smallest value."""
    high: float | None = None
    """Greatest value."""
    is_low_excluded: bool = False
    """Whether the smallest value is itself out of range."""
    is_high_excluded: bool = False
    """Whether the greatest value is itself out of range."""
    words: frozenset[str] = frozenset()
    """Words that stand for a value, such as `auto`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuffixRule:
    """What a host takes for a suffix."""

    max_length: int
    """Most characters that are the caller's; where the order's key travels in the suffix, without it."""
    pattern: str = r".+"
    """Regular expression on the whole suffix."""
    wording: str = ""
    """The pattern, for a person to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host of fine-tuning jobs."""

    name: str
    """The word before the colon of `"provider:base"`."""

    title: str
    """Its name for a person to read."""

    api: Literal["openai", "azure", "nebius", "together", "fireworks"] = "openai"
    """Which module of `trainers/hosts` speaks to it."""

    extra: str | None = None
    """The extra of this package that brings the host's SDK, None where the openai client will do."""

    # --- how it is reached ---

    key_variable: str | None
    """Variable of the environment with the API key."""

    url_variable: str | None = None
    """Variable of the environment with the URL."""

    url: str | None = None
    """Where it is, None where every account has a URL of its own or the client knows."""

    url_path: str = ""
    """What is appended to the variable's URL unless it ends so."""

    # --- how it is looked at ---

    poll_interval_seconds: float = 10.0
    """How often a waiting trainer looks at its job."""

    model_grace_seconds: float = 3600.0
    """How long after a job's success its model may still be unknown to the host."""

    max_concurrency: int = 8
    """Questions that a comparison asks at the same time, unless the caller's config says otherwise."""

    # --- what it takes ---

    methods: frozenset[str] = frozenset({"supervised"})
    """Methods of training."""

    methods_with_validation: frozenset[str] = frozenset({"supervised", "dpo", "reinforcement"})
    """Methods that take a validation file."""

    min_examples: int = 10
    """Fewest training rows that a job may have."""

    max_examples: int | None = None
    """Most rows of a file, None where no limit is documented."""

    max_file_bytes: int | None = None
    """Size of one training file as this package uploads it, None where no limit is documented."""

    suffix: SuffixRule | None
    """What the suffix may be, None where the host has none."""

    has_seed: bool = True
    """Whether a job has a seed."""

    hyperparameter_style: Literal["method", "top-level", "flat"] = "method"
    """Where they stand in the body: inside `method`, in `hyperparameters`, or as fields of the job."""

    hyperparameters: Mapping[str, Hyperparameter] = field(default_factory=dict)
    """What is known of each, for every method."""

    method_hyperparameters: Mapping[str, Mapping[str, Hyperparameter]] = field(default_factory=dict)
    """What is known of those that one method alone has, by method."""

    takes_other_hyperparameters: bool = True
    """Whether names that are not listed are sent on, for the host to judge."""

    hyperparameter_names: Mapping[str, str] = field(default_factory=dict)
    """The host's own name of a hyperparameter that OpenAI calls otherwise."""

    extra_body: Mapping[str, frozenset[str]] | None = field(default_factory=dict)
    """Further fields of a job with the values that are known; others are sent on. None: it takes none."""

    # --- what it can do ---

    key_place: Literal["metadata", "suffix", "job id"] = "metadata"
    """Where the order's key travels, so that its job is found again."""

    has_metadata_filter: bool = False
    """Whether jobs can be listed by their metadata."""

    has_model_limits: bool = False
    """Whether it has, or may have, `GET /v1/fine_tuning/model_limits`."""

    has_pause: bool = False
    """Whether a job can be paused."""

    has_events: bool = True
    """Whether a job has events of its own; elsewhere its state and progress stand in for them."""

    is_served_at_once: bool = True
    """Whether a tuned model answers without a deployment that somebody has to make."""

    deploys_by_itself: bool = False
    """Whether this package makes the deployment, where one is needed."""


_EPOCHS: Final = Hyperparameter(kind="int", low=1, high=50, words=frozenset({"auto"}))
_OPENAI_HYPERPARAMETERS: Final = {
    "n_epochs": _EPOCHS,
    "batch_size": Hyperparameter(kind="int", low=1, high=256, words=frozenset({"auto"})),
    "learning_rate_multiplier": Hyperparameter(
        kind="float", low=0, is_low_excluded=True, words=frozenset({"auto"})
    ),
}
_OPENAI_DPO: Final = {
    "beta": Hyperparameter(kind="float", low=0, high=2, is_low_excluded=True, words=frozenset({"auto"}))
}
_POSITIVE: Final = Hyperparameter(kind="float", low=0, is_low_excluded=True)
_SHARE: Final = Hyperparameter(kind="float", low=0, high=1)
_COUNT: Final = Hyperparameter(kind="int", low=1)
_YES_OR_NO: Final = Hyperparameter(kind="bool")

LOCAL: Final = Host(
    name="local",
    title="the embedded server",
    key_variable=None,
    poll_interval_seconds=0.5,
    model_grace_seconds=0.0,
    max_concurrency=2,
    # libs/finetune_server/config.py: Limits
    max_examples=1_000_000,
    max_file_bytes=512 * 2**20,
    suffix=SuffixRule(max_length=64),
    extra_body=None,
    has_metadata_filter=True,
    has_model_limits=True,
    has_pause=True,
)

OPENAI: Final = Host(
    name="openai",
    title="OpenAI",
    key_variable="OPENAI_API_KEY",
    url_variable="OPENAI_BASE_URL",
    methods=frozenset({"supervised", "dpo", "reinforcement"}),
    max_file_bytes=512 * _MB,
    suffix=SuffixRule(max_length=64),
    hyperparameters=_OPENAI_HYPERPARAMETERS,
    method_hyperparameters={"dpo": _OPENAI_DPO},
    takes_other_hyperparameters=False,
    has_metadata_filter=True,
    has_model_limits=True,
    has_pause=True,
)

CUSTOM: Final = Host(
    name="custom",
    title="the host",
    key_variable=None,
    methods=frozenset({"supervised", "dpo", "reinforcement"}),
    min_examples=1,
    suffix=SuffixRule(max_length=64),
    has_metadata_filter=True,
    has_model_limits=True,
    has_pause=True,
)
"""Any host that speaks OpenAI's protocol; of its limits nothing is known, so that it judges by itself."""

AZURE: Final = Host(
    name="azure",
    title="Azure OpenAI",
    api="azure",
    key_variable="AZURE_OPENAI_API_KEY",
    url_variable="AZURE_OPENAI_ENDPOINT",
    url_path="openai/v1/",
    poll_interval_seconds=30.0,
    methods=frozenset({"supervised", "dpo", "reinforcement"}),
    # Larger multipart uploads are answered with 500 later on.
    max_file_bytes=100 * _MB,
    suffix=SuffixRule(max_length=18, pattern=r"[^.]+", wording="without dots"),
    hyperparameters=_OPENAI_HYPERPARAMETERS,
    method_hyperparameters={"dpo": _OPENAI_DPO},
    extra_body={"trainingType": frozenset({"Standard", "GlobalStandard", "developerTier"})},
    has_pause=True,
    is_served_at_once=False,
)

NEBIUS: Final = Host(
    name="nebius",
    title="Nebius Token Factory",
    api="nebius",
    key_variable="NEBIUS_API_KEY",
    url="https://api.tokenfactory.nebius.com/v1/",
    max_file_bytes=5 * _GB,
    # The suffix may have 64; the order's key takes a dash and 16 of them.
    suffix=SuffixRule(max_length=47),
    hyperparameter_style="top-level",
    hyperparameters={
        "n_epochs": Hyperparameter(kind="int", low=1, high=20),
        "batch_size": Hyperparameter(kind="int", low=1, high=32),
        "learning_rate": _POSITIVE,
        "warmup_ratio": _SHARE,
        "weight_decay": Hyperparameter(kind="float", low=0),
        "max_grad_norm": Hyperparameter(kind="float", low=0),
        "packing": _YES_OR_NO,
        "context_length": _COUNT,
        "lora": _YES_OR_NO,
        "lora_r": _COUNT,
        "lora_alpha": _COUNT,
        "lora_dropout": _SHARE,
    },
    key_place="suffix",
    is_served_at_once=False,
    deploys_by_itself=True,
)

TOGETHER: Final = Host(
    name="together",
    title="Together AI",
    api="together",
    extra="together",
    key_variable="TOGETHER_API_KEY",
    url_variable="TOGETHER_BASE_URL",
    methods=frozenset({"supervised", "dpo"}),
    min_examples=1,
    # The suffix may have 40; the order's key takes a dash and 16 of them.
    suffix=SuffixRule(max_length=23, pattern=r"[A-Za-z0-9_-]+", wording="of letters, digits, _ and -"),
    hyperparameter_style="flat",
    hyperparameters={
        "n_epochs": _COUNT,
        "batch_size": Hyperparameter(kind="int", low=1, words=frozenset({"max"})),
        "gradient_accumulation_steps": _COUNT,
        "learning_rate": _POSITIVE,
        "lr_scheduler_type": Hyperparameter(kind="str", words=frozenset({"linear", "cosine"})),
        "min_lr_ratio": _SHARE,
        "scheduler_num_cycles": _POSITIVE,
        "warmup_ratio": _SHARE,
        "max_grad_norm": Hyperparameter(kind="float", low=0),
        "weight_decay": Hyperparameter(kind="float", low=0),
        "max_seq_length": _COUNT,
        "packing": _YES_OR_NO,
        "n_evals": Hyperparameter(kind="int", low=0),
        "n_checkpoints": _COUNT,
        "lora": _YES_OR_NO,
        "lora_r": _COUNT,
        "lora_alpha": _POSITIVE,
        "lora_dropout": _SHARE,
        "lora_trainable_modules": Hyperparameter(kind="str"),
        "train_vision": _YES_OR_NO,
    },
    method_hyperparameters={
        "supervised": {"train_on_inputs": Hyperparameter(kind="bool", words=frozenset({"auto"}))},
        "dpo": {
            "dpo_beta": _POSITIVE,
            "dpo_normalize_logratios_by_length": _YES_OR_NO,
            "rpo_alpha": Hyperparameter(kind="float", low=0),
            "simpo_gamma": Hyperparameter(kind="float", low=0),
        },
    },
    takes_other_hyperparameters=False,
    hyperparameter_names={"beta": "dpo_beta"},
    extra_body=None,
    key_place="suffix",
    is_served_at_once=False,
)

FIREWORKS: Final = Host(
    name="fireworks",
    title="Fireworks AI",
    api="fireworks",
    extra="fireworks",
    key_variable="FIREWORKS_API_KEY",
    url_variable="FIREWORKS_BASE_URL",
    methods=frozenset({"supervised", "dpo"}),
    methods_with_validation=frozenset({"supervised"}),
    # https://docs.fireworks.ai/fine-tuning/fine-tuning-models, "Prepare a dataset", read on 2026-11-24
    min_examples=3,
    max_examples=3_000_000,
    # The limit of the one-request upload.
    max_file_bytes=150 * _MB,
    suffix=SuffixRule(
        max_length=40, pattern=r"[a-z]([a-z0-9-]*[a-z0-9])?", wording="of a to z, digits and dashes"
    ),
    has_seed=False,
    hyperparameter_style="flat",
    hyperparameters={
        "epochs": _COUNT,
        "batch_size": _COUNT,
        "batch_size_samples": _COUNT,
        "gradient_accumulation_steps": _COUNT,
        "learning_rate": _POSITIVE,
        "learning_rate_warmup_steps": Hyperparameter(kind="int", low=0),
        "optimizer_weight_decay": Hyperparameter(kind="float", low=0),
        "lora_rank": _COUNT,
        "max_context_length": _COUNT,
        "jinja_template": Hyperparameter(kind="str"),
        "sampler_checkpoint_save_interval_steps": Hyperparameter(kind="int", low=0),
    },
    method_hyperparameters={
        "supervised": {"early_stop": _YES_OR_NO, "eval_auto_carveout": _YES_OR_NO, "nodes": _COUNT},
        "dpo": {
            "beta": Hyperparameter(kind="float", low=0, high=0.5, is_low_excluded=True, is_high_excluded=True)
        },
    },
    takes_other_hyperparameters=False,
    hyperparameter_names={"n_epochs": "epochs"},
    key_place="job id",
    has_events=False,
    is_served_at_once=False,
)

HOSTS: Final = {host.name: host for host in (LOCAL, OPENAI, AZURE, NEBIUS, TOGETHER, FIREWORKS, CUSTOM)}


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
        'that speaks OpenAI\'s protocol give "custom:<base>" with `client=openai.OpenAI(base_url=...)`, or '
        "with `base_url=` and `api_key=`."
    )
    raise UnknownProviderError(msg)


def require_method(method: str, host: Host) -> None:
    """Refuse a method of training that a host does not have.

    Raises:
        SettingError: The host does not train by it.
    """
    if method not in host.methods:
        known = ", ".join(map(repr, sorted(host.methods)))
        msg = (
            f"{host.title} does not train by the method {method!r}: it has {known}. "
            "Choose another `method`, or another host."
        )
        raise SettingError(msg)


def host_of(provider: str | None) -> Host:
    """Return the host of a tuned model's metadata; a provider that is not listed speaks OpenAI's protocol."""
    return HOSTS.get(provider or "", OPENAI)
