"""Names of models: the base behind a tuned one, the model behind a dated snapshot."""

import re
from typing import Final

_TUNED: Final = "ft:"
_DATE: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_AZURE_TUNED: Final = re.compile(r"\.ft-[0-9a-f]+.*$")


def is_tuned(name: str) -> bool:
    """Tell whether a model's name is one that a job gives."""
    return name.startswith(_TUNED) or _AZURE_TUNED.search(name) is not None


def base_of(name: str) -> str:
    """Return the base model of a tuned one's name, and any other name as it is."""
    if name.startswith(_TUNED):
        return name.removeprefix(_TUNED).split(":")[0]
    return _AZURE_TUNED.sub("", name)


def without_date(name: str) -> str:
    """Return the model that a dated name is a snapshot of."""
    return _DATE.sub("", name)
