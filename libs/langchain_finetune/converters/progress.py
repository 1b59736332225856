"""What the converter tells while it works."""

from collections.abc import Mapping
from typing import Final

from langchain_finetune._spool import SPLITS, RowWriter
from langchain_finetune._stage import Event
from langchain_finetune.handles import Split

CONVERT_EVENT: Final = "langchain_finetune_convert"
PAGE: Final = 1000
"""Sessions between two events."""


def event(writers: Mapping[Split, RowWriter], num_rejected: int) -> Event:
    """Return the event of what is written so far."""
    counts = {f"num_{split}": writers[split].num_rows if split in writers else 0 for split in SPLITS}
    return Event(CONVERT_EVENT, {**counts, "num_rejected": num_rejected})
