"""A further name of a tuned model, asked for in its job's metadata under `ALIAS_FIELD`.

An application that asks for the name of a model at another host goes on with the model that was tuned here in
its place. The newest job that succeeded has the name; when its model is deleted, the one before has it again.
"""

import re
from collections.abc import Mapping

from finetune_server.errors import ApiError
from finetune_server.ids import is_tuned_name
from finetune_server.storage.records import ALIAS_FIELD
from finetune_server.storage.store import Store

_NAME = re.compile(r"ft:[!-~]+")
_PARAM = f"metadata.{ALIAS_FIELD}"


def check_alias(metadata: Mapping[str, str] | None, store: Store) -> None:
    """Refuses an alias that has not the form of a tuned model's name, or is the name of a model here.

    Raises:
        ApiError: In both cases.
    """
    alias = (metadata or {}).get(ALIAS_FIELD)
    if alias is None:
        return
    if not is_tuned_name(alias) or not _NAME.fullmatch(alias):
        message = f"Invalid '{_PARAM}': an alias has the form 'ft:…', without blanks."
        raise ApiError(400, message, param=_PARAM, code="invalid_value")
    if store.find_named(alias) is not None:
        message = (
            f"Invalid '{_PARAM}': there is a model of that name here. Choose another, or delete the model."
        )
        raise ApiError(400, message, param=_PARAM, code="alias_taken")
