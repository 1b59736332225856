"""The rows that the sessions of a file become, by the method of training: the way into this step."""

from collections.abc import Iterator
from pathlib import Path

from langchain_finetune.converters.examples import Example, Refused, Rendering
from langchain_finetune.converters.preferences import preference_examples
from langchain_finetune.converters.reinforcement import reinforcement_examples
from langchain_finetune.converters.sessions import read_session_rows
from langchain_finetune.converters.supervised import supervised_examples


def read_examples(path: Path, rendering: Rendering) -> Iterator[Example | Refused]:
    """Yield the rows of a file of sessions, in their order, and the runs that give none.

    Every run gives at least one of them, or is named in another one's `merged`. The same file and the same
    settings give the same, again and again.

    Raises:
        SettingError: Pairs cannot be made: see `preference_examples`.
        SourceError: The file cannot be read.
    """
    if rendering.method == "dpo":
        yield from preference_examples(path, rendering)
    elif rendering.method == "reinforcement":
        for session in read_session_rows(path):
            yield from reinforcement_examples(
                session, reasoning=rendering.reasoning, metadata_keys=rendering.metadata_keys
            )
    else:
        for session in read_session_rows(path):
            yield from supervised_examples(
                session, reasoning=rendering.reasoning, trains_history=rendering.trains_history
            )
