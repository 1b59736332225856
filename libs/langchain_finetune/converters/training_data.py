"""The stage between loader and trainer."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from langchain_core.runnables import RunnableConfig
from pydantic import Field, field_validator, model_validator
from typing_extensions import override

from langchain_finetune._stage import Stage, adrive, drive
from langchain_finetune.converters.balance import Balance
from langchain_finetune.converters.convert import convert
from langchain_finetune.converters.redaction.pii import PersonalData
from langchain_finetune.converters.redaction.redact import Redactor, read_rules
from langchain_finetune.converters.rendering.examples import Reasoning, Rendering
from langchain_finetune.converters.sessions import accept_sessions
from langchain_finetune.converters.settings import Collapse, Deduplicate, Settings, told
from langchain_finetune.converters.splitting.pins import Pins
from langchain_finetune.converters.target import Target
from langchain_finetune.handles import ChatSessionFile, Method, RecordedSession, TrainingData

ConverterInput = ChatSessionFile | str | Path | Iterable[RecordedSession | Mapping[str, Any]]
"""What a loader gives, the path of its file, or sessions: recorded ones or LangChain's `ChatSession`s."""


class TrainingDataConverter(Stage[ConverterInput, TrainingData]):
    """Converts recorded sessions into rows of OpenAI's training formats, checked and split.

    Every run that came in has a line in the report: kept, merged, duplicate or rejected, and why.

    ```python
    from langchain_finetune import RunExportLoader, TrainingDataConverter

    data = (RunExportLoader("runs.jsonl") | TrainingDataConverter(test_fraction=0.2)).invoke({})
    print(data.num_train, data.num_test, data.rejected_by_reason)
    ```
    """

    method: Method = "supervised"
    """Method of training that the rows are for."""

    reasoning: Reasoning = "drop"
    """Whether the model's recorded reasoning is left out, or stands in front of its answer as `<think>`."""

    score_key: str | None = None
    """For `"dpo"`: key of the feedback that tells the better of two answers to one prompt; None where there
    is only one."""

    lower_is_better: bool = False
    """For `"dpo"`: whether a low score is a good one."""

    max_pairs_per_prompt: int = Field(default=1, ge=1)
    """For `"dpo"`: most pairs of the runs of one prompt, and of the candidates of one run."""

    metadata_keys: tuple[str, ...] = ()
    """For `"reinforcement"`: keys of the runs' metadata that the grader reads."""

    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows that the host computes the validation loss on."""

    test_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows that `ModelComparison` asks base and tuned model."""

    seed: int = 0
    """Seed of the split. Rows of one thread, of one trace or with one prompt always stay together."""

    collapse: Collapse = "trajectory"
    """What becomes of growing histories: the calls of a thread or an agent loop that repeat earlier ones.

    `"trajectory"`: one row of them, in which every recorded answer is trained on once (`weight`); branches
    stay apart. `"last"`: one row, trained on in its last answer alone. `"none"`: a row of every run, without
    weights: hosts train on all answers of each. A history's answers that no run of the selection recorded
    have the weight 0 but for `"none"`.
    """

    redact: Literal["secrets", "pii", "none"] = "secrets"
    """Whether API keys, tokens, passwords, private keys and card numbers are replaced by placeholders such as
    `[API_KEY_1]`, in tool arguments and results too; `"pii"`: and personal data (extra `pii`)."""

    pii_model: str | None = None
    """For `"pii"`: name of an installed spaCy model that finds names and places."""

    redaction_rules: tuple[Any, ...] = Field(default=(), exclude=True, repr=False)
    """Own rules as `langsmith.anonymizer` takes them: `{"pattern": re.compile(...), "replace": "..."}`."""

    target: str | None = None
    """`"provider:base"`, as `FineTuneRunnable` takes it: adds that host's rules and limits, and counts tokens
    as the base does. Without it, OpenAI's rules for a row."""

    max_tokens_per_example: int | None = Field(default=None, ge=1)
    """Most tokens of a row; None for the limit of the target, if there is one."""

    deduplicate: Deduplicate = "exact"
    """Whether a row that is equal to one before it is left out; `"near"`: or nearly equal (extra
    `near-dup`)."""

    max_per_tool: int | None = Field(default=None, ge=1)
    """Most rows whose answers call the same tool."""

    max_per_tag: int | None = Field(default=None, ge=1)
    """Most rows whose runs have the same tag."""

    max_per_label: Mapping[str, int] = Field(default_factory=dict)
    """Most rows with the same value, by the key of the runs' metadata or feedback."""

    sample: int | float | None = None
    """Of the rows that are left then, a share (a float, at most 1.0) or a number (an int)."""

    pinned: TrainingData | str | Path | None = Field(default=None, exclude=True, repr=False)
    """Earlier training data, their fingerprint or their directory: what was in a split there stays in it."""

    on_error: Literal["reject", "raise"] = "reject"
    """Whether a run that cannot be trained on is reported, or ends the conversion."""

    min_examples: int = Field(default=10, ge=1)
    """Fewest training rows; the hosts' own minimum is 10."""

    @model_validator(mode="after")
    def _leave_rows_to_train_on(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            msg = (
                "validation_fraction and test_fraction leave no row to train on: their sum has to be below 1."
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_balance(self) -> Self:
        self._balance()
        return self

    @field_validator("redaction_rules")
    @classmethod
    def _read_rules(cls, rules: Any) -> tuple[Any, ...]:
        return read_rules(rules)

    @override
    def _accept(self, given: Any) -> ChatSessionFile:
        return accept_sessions(given)

    @override
    def _run(self, accepted: ChatSessionFile, config: RunnableConfig) -> TrainingData:
        return drive(convert(accepted, self._settings()), config)

    @override
    async def _arun(self, accepted: ChatSessionFile, config: RunnableConfig) -> TrainingData:
        return await adrive(convert(accepted, self._settings()), config)

    def _settings(self) -> Settings:
        collapse = self.collapse if self.method == "supervised" else "none"
        target = Target.of(self.target, self.method)
        finders = (PersonalData(self.pii_model),) if self.redact == "pii" else ()
        return Settings(
            rendering=Rendering(
                method=self.method,
                reasoning=self.reasoning,
                trains_history=collapse == "none",
                score_key=self.score_key,
                lower_is_better=self.lower_is_better,
                max_pairs_per_prompt=self.max_pairs_per_prompt,
                metadata_keys=self.metadata_keys,
            ),
            collapse=collapse,
            redactor=Redactor(
                is_finding_secrets=self.redact != "none", rules=self.redaction_rules, finders=finders
            ),
            target=target,
            max_tokens=self.max_tokens_per_example or target.max_tokens_per_example,
            is_raising=self.on_error == "raise",
            deduplicate=self.deduplicate,
            balance=self._balance(),
            fractions={"validation": self.validation_fraction, "test": self.test_fraction},
            seed=self.seed,
            min_examples=max(self.min_examples, target.min_examples or 0),
            pins=None if self.pinned is None else Pins.read(self.pinned),
            told=told(self),
        )

    def _balance(self) -> Balance:
        return Balance(
            max_per_tool=self.max_per_tool,
            max_per_tag=self.max_per_tag,
            max_per_label=self.max_per_label,
            sample=self.sample,
            seed=self.seed,
        )
