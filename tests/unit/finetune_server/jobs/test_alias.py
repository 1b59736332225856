import pytest

from finetune_server.errors import ApiError
from finetune_server.jobs.alias import check_alias
from finetune_server.storage.job_table import NewEvent
from finetune_server.storage.records import ALIAS_FIELD, ModelRecord
from finetune_server.storage.store import Store
from tests.server_records import job

ALIAS = "ft:gpt-4o-mini-2024-07-18:acme::abc123"


@pytest.fixture
def store(tmp_path):
    store = Store.open(tmp_path / "server.sqlite")
    yield store
    store.close()


def train(store, root, number, alias=ALIAS):
    """A job that asks for the alias and succeeds; gives its model's name."""
    made_by = job(number, status="running", metadata={ALIAS_FIELD: alias} if alias else None)
    store.jobs.create(made_by, [])
    model = ModelRecord(
        id=f"ft:base:local::{number}",
        base="base",
        adapter_gguf=None,
        adapter_dir=root / "jobs" / made_by.id / "adapter",
        job_id=made_by.id,
        created_at=9,
    )
    changes = {"status": "succeeded", "fine_tuned_model": model.id}
    store.finish_job(made_by.id, changes=changes, model=model, result_file=None, events=[])
    return model.id


def test_the_newest_job_that_succeeded_has_the_alias(store, tmp_path):
    assert store.find_model(ALIAS) is None
    first, second = train(store, tmp_path, 1), train(store, tmp_path, 2)
    store.jobs.create(job(3, metadata={ALIAS_FIELD: ALIAS}), [])
    assert store.find_model(ALIAS).id == second
    assert {alias: model.id for alias, model in store.list_aliases().items()} == {ALIAS: second}
    store.delete_model(second)
    assert store.find_model(ALIAS).id == first
    store.delete_model(first)
    assert store.find_model(ALIAS) is None
    assert store.list_aliases() == {}


def test_a_checkpoint_of_a_job_that_goes_on_has_no_alias(store, tmp_path):
    made_by = job(1, status="running", metadata={ALIAS_FIELD: ALIAS})
    store.jobs.create(made_by, [])
    checkpoint = ModelRecord(
        id="ft:base:local::1:ckpt-step-2",
        base="base",
        adapter_gguf=None,
        adapter_dir=tmp_path / "jobs" / made_by.id / "epochs",
        job_id=made_by.id,
        created_at=9,
        step=2,
    )
    event = NewEvent(message="x", created_at=5, data={"phase": "checkpoint", "step": 2})
    store.enter_progress(made_by.id, changes={}, events=[event], checkpoints={2: checkpoint})
    assert store.find_model(checkpoint.id) is not None
    assert store.find_model(ALIAS) is None


def test_other_metadata_is_no_alias(store, tmp_path):
    train(store, tmp_path, 1, alias=None)
    store.jobs.create(job(2, metadata={"who": ALIAS}), [])
    assert store.find_model(ALIAS) is None


@pytest.mark.parametrize("alias", ["gpt-4", "ft:", "ft:a b", "ft:a\n", "", "FT:a", "ft:\x00"])
def test_what_is_no_name_of_a_tuned_model_is_refused(store, alias):
    with pytest.raises(ApiError, match="has the form 'ft:…'") as caught:
        check_alias({ALIAS_FIELD: alias}, store)
    assert (caught.value.status, caught.value.param) == (400, f"metadata.{ALIAS_FIELD}")


def test_the_name_of_a_model_or_base_cannot_be_taken(store, tmp_path):
    name = train(store, tmp_path, 1)
    store.add_base("ft:strange/base", weights_sha256="w", max_model_len=64, now=1)
    for taken in (name, "ft:strange/base"):
        with pytest.raises(ApiError, match="there is a model of that name") as caught:
            check_alias({ALIAS_FIELD: taken}, store)
        assert (caught.value.status, caught.value.code) == (400, "alias_taken")


def test_an_alias_can_be_given_to_the_next_job(store, tmp_path):
    train(store, tmp_path, 1)
    check_alias({ALIAS_FIELD: ALIAS}, store)
    check_alias({"other": "x"}, store)
    check_alias(None, store)
