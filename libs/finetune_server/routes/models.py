"""`/v1/models`: the bases on this machine and the models tuned from them."""

import shutil

from fastapi import APIRouter

from finetune_server import wire
from finetune_server.catalog import enter_base
from finetune_server.errors import ApiError, UnknownBase, model_not_found
from finetune_server.ids import is_tuned_name
from finetune_server.routes.dependencies import StoreOf
from finetune_server.storage.records import ModelRecord
from finetune_server.storage.store import Store

router = APIRouter(prefix="/models")


@router.get("")
def list_models(store: StoreOf) -> wire.Wire:
    """All models: bases first, aliases last."""
    models = store.list_bases() + store.list_models()
    names = {model.id for model in models}
    aliases = [(alias, model) for alias, model in store.list_aliases().items() if alias not in names]
    shown = [wire.model_object(model) for model in models]
    return wire.list_object(shown + [wire.model_object(model, alias) for alias, model in aliases])


# A base may be named by its path or as `organization/name`, so its id can have slashes.
@router.get("/{model_id:path}")
def retrieve_model(model_id: str, store: StoreOf) -> wire.Wire:
    """One model.

    A base is resolved anew: one that is named by its path or by the hub's name is known before its first
    job, and `weights_sha256` is that of the files as they are now.
    """
    if not is_tuned_name(model_id):
        try:
            enter_base(store, model_id)
        except UnknownBase as error:
            raise ApiError(404, str(error), param="model", code="model_not_found") from error
    return wire.model_object(_found(store, model_id), model_id)


@router.delete("/{model_id:path}")
def delete_model(model_id: str, store: StoreOf) -> wire.Wire:
    """Forgets a tuned model and its adapter, and frees its alias; the base stays."""
    model = _found(store, model_id)
    if model.job_id is None:
        message = f"The model `{model_id}` is a base model. Only models tuned here (ft:…) can be deleted."
        raise ApiError(403, message, param="model", code="model_not_deletable")
    if model.id != model_id:
        message = f"`{model_id}` is an alias of the model `{model.id}`. Delete that to free the alias."
        raise ApiError(403, message, param="model", code="model_not_deletable")
    store.delete_model(model.id)
    _remove_adapter(model)
    return wire.deleted_object(model.id, "model")


def _found(store: Store, model_id: str) -> ModelRecord:
    model = store.find_model(model_id)
    if model is None:
        raise model_not_found(model_id)
    return model


def _remove_adapter(model: ModelRecord) -> None:
    # The record is gone; bytes that cannot be removed now do no harm but to the disk.
    if model.adapter_dir is not None:
        shutil.rmtree(model.adapter_dir, ignore_errors=True)
    if model.adapter_gguf is not None:
        model.adapter_gguf.unlink(missing_ok=True)
