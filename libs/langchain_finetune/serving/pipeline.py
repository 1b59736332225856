"""A pipe as it is served: what comes before the training, the training, what comes after it."""

from typing import Any, NamedTuple

from langchain_core.runnables import Runnable, RunnableSequence

from langchain_finetune.errors import NotServableError
from langchain_finetune.trainers.fine_tune import FineTuneRunnable
from langchain_finetune.trainers.served import ServedFineTune


class ServedPipe(NamedTuple):
    """The parts of a pipe."""

    first: Runnable[Any, Any]
    """The step that a request's input goes to."""

    head: Runnable[Any, Any] | None
    """What makes training data of the input; None where the input is the trainer's own."""

    trainer: FineTuneRunnable

    tail: Runnable[Any, Any] | None
    """What is done with the chat model of a job that has succeeded, such as a gate and a promotion."""


def split(pipeline: Runnable[Any, Any]) -> ServedPipe:
    """Take a pipe apart at its trainer.

    Raises:
        NotServableError: There is not exactly one `FineTuneRunnable` among its steps.
    """
    steps = pipeline.steps if isinstance(pipeline, RunnableSequence) else [pipeline]
    places = [i for i, step in enumerate(steps) if isinstance(step, FineTuneRunnable | ServedFineTune)]
    if len(places) != 1:
        msg = (
            "add_fine_tune_routes serves a pipe with one FineTuneRunnable among its steps, and got "
            f"{' | '.join(step.get_name() for step in steps)}: other pipes are LangServe's `add_routes`."
        )
        raise NotServableError(msg)
    place = places[0]
    step: Any = steps[place]
    trainer: FineTuneRunnable = step.trainer if isinstance(step, ServedFineTune) else step
    return ServedPipe(steps[0], _joined(steps[:place]), trainer, _joined(steps[place + 1 :]))


def _joined(steps: list[Runnable[Any, Any]]) -> Runnable[Any, Any] | None:
    if not steps:
        return None
    joined = steps[0]
    for step in steps[1:]:
        joined = joined | step
    return joined
