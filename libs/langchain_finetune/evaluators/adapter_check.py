"""Is the adapter really loaded? A tuned model has to differ from its base where it was trained.

A host that serves the base under the tuned model's name answers everything, and nobody notices. Any answer
that differs proves the adapter, so that usually nothing is asked for this; where both answered every held-out
question alike, they are asked some of the training prompts.
"""

from collections.abc import Generator, Iterable, Mapping
from itertools import islice
from typing import Any, Final

from langchain_finetune._spool import read_jsonl
from langchain_finetune.evaluators._asking import Outcome, Round
from langchain_finetune.evaluators._store import AnswerStore
from langchain_finetune.evaluators.contenders import Contender
from langchain_finetune.evaluators.questions import Batch, questions_from
from langchain_finetune.handles import TrainingData

NUM_TRAINING_PROMPTS: Final = 8
"""Training prompts that both models are asked where all held-out answers are the same."""


def is_base_of(base: Contender, tuned: Contender) -> bool:
    """Tell whether the tuned model was trained from the base, at the same host."""
    named = tuned.metadata.get("langchain_finetune_base")
    providers = {each.metadata.get("langchain_finetune_provider") for each in (base, tuned)}
    return isinstance(named, str) and len(providers) == 1 and getattr(base.model, "model_name", None) == named


def differs(base: Contender, tuned: Contender, keys: Iterable[str]) -> bool:
    """Tell whether two models answered any question differently."""
    return any(
        base.answers[key].said != tuned.answers[key].said
        for key in keys
        if key in base.answers and key in tuned.answers
    )


def check_adapter(
    base: Contender, tuned: Contender, data: TrainingData, limit: int, store: AnswerStore
) -> Generator[Round, None, bool]:
    """Ask both models training prompts, and return whether they answer any of them differently."""
    asked = questions_from(islice(read_jsonl(data.train), NUM_TRAINING_PROMPTS))[:NUM_TRAINING_PROMPTS]
    for contender in (base, tuned):
        for batch in contender.open_batches(asked):
            yield Round(
                contender.bound_to(batch, limit),
                [it.messages for it in batch.questions],
                _taking(contender, batch, store),
                contender.marks,
            )
    return differs(base, tuned, [question.key for question in asked])


def adapter_warning(base: str, tuned: str) -> str:
    """Return what is said where base and tuned model are the same."""
    return (
        f"{tuned} answers like its base {base} to the letter, on the held-out rows and on its own training "
        "prompts: the adapter is not loaded at the host, or the training changed nothing. Look at the job's "
        "loss, and at how the host serves the model."
    )


def _taking(contender: Contender, batch: Batch, store: AnswerStore) -> Any:
    def take(index: int, outcome: Outcome) -> Mapping[str, Any] | None:
        contender.take(batch.questions[index].key, outcome, store)
        return None

    return take
