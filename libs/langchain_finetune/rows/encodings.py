"""Counting the tokens of a text as OpenAI's bases do, where that needs no network."""

import hashlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from langchain_finetune.base_names import base_of
from langchain_finetune.rows.tokens import CountText

if TYPE_CHECKING:
    import tiktoken

_ENCODINGS_URL: Final = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"


def tiktoken_counter(base: str) -> CountText | None:
    """Return what counts the tokens of a text for an OpenAI base; None where that needs a download.

    The name of a tuned model is reduced to its base first: tiktoken takes `ft:gpt-4.1-mini` for a `gpt-4`.
    """
    import tiktoken  # noqa: PLC0415  most conversions have no use for it

    try:
        name = tiktoken.encoding_name_for_model(base_of(base))
        encoding = _encoding(name) if _is_here(name) else None
    except KeyError:
        return None
    return (lambda text: len(encoding.encode_ordinary(text))) if encoding else None


@lru_cache(maxsize=4)
def _encoding(name: str) -> "tiktoken.Encoding | None":
    import tiktoken  # noqa: PLC0415

    try:
        return tiktoken.get_encoding(name)
    except (OSError, ValueError):  # a damaged file would be fetched again
        return None


def _is_here(name: str) -> bool:
    # tiktoken keeps an encoding under the hash of its URL; asking for one that is not there downloads it.
    import tiktoken  # noqa: PLC0415

    if name in tiktoken.registry.ENCODINGS:
        return True
    default = str(Path(tempfile.gettempdir()) / "data-gym-cache")
    directory = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR") or default
    key = hashlib.sha1(_ENCODINGS_URL.format(name).encode(), usedforsecurity=False).hexdigest()
    return (Path(directory) / key).is_file()
