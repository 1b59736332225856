"""Held-out rows that a person has: a file of them, or training data."""

import os
from pathlib import Path

from langchain_finetune._spool import training_data_from
from langchain_finetune.handles import TrainingData


def read_data(given: TrainingData | str | os.PathLike[str] | None) -> TrainingData | None:
    """Return training data whose held-out rows are those given.

    Raises:
        SourceNotFoundError: There is no such file.
        SourceError: A line is no JSON object.
        TrainingDataError: There is no row.
    """
    if given is None or isinstance(given, TrainingData):
        return given
    data = training_data_from(Path(given))
    return data.model_copy(update={"test": data.train, "num_test": data.num_train})
