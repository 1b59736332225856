"""Names that stay while the models behind them change."""

import sqlite3
import subprocess
import sys
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from langchain_finetune import AliasStore, FineTunedModel
from langchain_finetune.errors import AliasError, AliasNotFoundError, StorageError
from tests.fakes.clients import trainer_at
from tests.fakes.openai_host import FakeHost
from tests.fakes.training_rows import training_data

ALIAS = "calculator@production"


def tuned(name: str) -> FineTunedModel:
    return FineTunedModel(
        provider="local",
        base="tiny",
        model=f"ft:{name}",
        base_url="http://127.0.0.1:1/v1",
        job_id=f"job-{name}",
    )


@pytest.fixture
def store(tmp_path):
    return AliasStore(tmp_path / "serving.sqlite", clock=lambda: 1_790_000_000.0)


def test_an_alias_stands_for_what_was_promoted_last(store):
    store.promote(ALIAS, tuned("a"))
    move = store.promote(ALIAS, tuned("b"), note="won by 12 rows")
    assert (move.kind, move.note) == ("promotion", "won by 12 rows")
    assert store.resolve(ALIAS).model == "ft:b"
    assert move.moved_at.isoformat() == "2026-09-21T14:13:20+00:00"


def test_a_chat_model_of_a_trainer_can_be_promoted(store):
    model = trainer_at(FakeHost()).invoke(training_data())
    store.promote(ALIAS, model)
    assert store.resolve(ALIAS).model == model.model_name
    assert b"sk-fake" not in store.path.read_bytes()


def test_it_goes_back_as_often_as_there_are_earlier_ones(store):
    for name in "abc":
        store.promote(ALIAS, tuned(name))
    assert store.rollback(ALIAS).model == tuned("b")
    assert store.rollback(ALIAS).model == tuned("a")
    with pytest.raises(AliasError, match="never stood for another model than 'ft:a'"):
        store.rollback(ALIAS)
    assert store.resolve(ALIAS) == tuned("a")


def test_the_same_model_again_moves_nothing(store):
    first = store.promote(ALIAS, tuned("a"))
    assert store.promote(ALIAS, tuned("a").model_copy(update={"metrics": {"loss": 1.0}})) == first
    assert len(store.history(ALIAS)) == 1


def test_history_is_kept_and_the_last_move_comes_first(store):
    store.promote(ALIAS, tuned("a"))
    store.promote(ALIAS, tuned("b"))
    store.rollback(ALIAS, note="it swears")
    store.remove(ALIAS)
    kinds = [move.kind for move in store.history(ALIAS)]
    assert kinds == ["removal", "rollback", "promotion", "promotion"]
    assert store.current() == {}
    assert store.history("other") == []


def test_what_was_removed_is_gone_and_nothing_to_go_back_to(store):
    store.promote(ALIAS, tuned("a"))
    store.promote(ALIAS, tuned("b"))
    store.remove(ALIAS)
    for ask in (store.resolve, store.rollback, store.remove):
        with pytest.raises(AliasNotFoundError, match="no model was promoted"):
            ask(ALIAS)
    store.promote(ALIAS, tuned("c"))
    with pytest.raises(AliasError, match="never stood for another"):
        store.rollback(ALIAS)


def test_every_alias_is_listed_by_name(store):
    store.promote("b", tuned("x"))
    store.promote("a@dev", tuned("y"))
    assert {name: move.model.model for name, move in store.current().items()} == {
        "a@dev": "ft:y",
        "b": "ft:x",
    }
    assert list(store.current()) == ["a@dev", "b"]


@pytest.mark.parametrize("alias", ["", "@", "a@", "a@b@c", "../a", "a b", "a/b", "ä", "a" * 65, "a\n", ".a"])
def test_what_is_no_name_is_refused(store, alias):
    with pytest.raises(AliasError, match="is no name for an alias"):
        store.promote(alias, tuned("a"))


def test_the_file_is_its_owners_and_lies_in_the_state_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("LANGCHAIN_FINETUNE_HOME", str(tmp_path / "home"))
    AliasStore().promote(ALIAS, tuned("a"))
    path = tmp_path / "home" / "serving.sqlite"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_newer_or_damaged_file_is_an_error_that_says_what_to_do(tmp_path):
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="move it away"):
        AliasStore(damaged).current()
    newer = tmp_path / "newer.sqlite"
    db = sqlite3.connect(newer)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StorageError, match="upgrade langchain-finetune"):
        AliasStore(newer).current()


def test_threads_that_promote_at_once_lose_no_move(store):
    store.promote(ALIAS, tuned("first"))
    threads = [
        threading.Thread(target=lambda name=name: store.promote(ALIAS, tuned(str(name)))) for name in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.history(ALIAS)) == 9
    models = {move.model.model for move in store.history(ALIAS)}
    assert len(models) == 9


PROCESS = """
import sys
from pathlib import Path
from langchain_finetune import AliasStore, FineTunedModel
store = AliasStore(Path(sys.argv[1]))
for number in range(5):
    name = f"{sys.argv[2]}-{number}"
    made = {"provider": "local", "base": "b", "model": name, "base_url": "http://x/v1", "job_id": name}
    store.promote("a", FineTunedModel(**made))
    assert store.resolve("a").model
"""


def test_processes_that_make_and_move_it_at_once_lose_no_move(tmp_path):
    path = tmp_path / "serving.sqlite"
    running = [subprocess.Popen([sys.executable, "-c", PROCESS, str(path), name]) for name in "xy"]
    assert [process.wait() for process in running] == [0, 0]
    assert len(AliasStore(path).history("a")) == 10


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["a", "b", "c", "rollback", "remove"]), max_size=12))
def test_it_is_a_stack_whatever_is_done(tmp_path_factory, steps):
    store = AliasStore(tmp_path_factory.mktemp("aliases") / "serving.sqlite")
    stack = []
    for step in steps:
        if step == "rollback":
            if len(stack) > 1:
                store.rollback(ALIAS)
                stack.pop()
            else:
                with pytest.raises(AliasError):
                    store.rollback(ALIAS)
        elif step == "remove":
            if stack:
                store.remove(ALIAS)
                stack.clear()
        else:
            store.promote(ALIAS, tuned(step))
            if not stack or stack[-1] != step:
                stack.append(step)
    if stack:
        assert store.resolve(ALIAS) == tuned(stack[-1])
    else:
        with pytest.raises(AliasNotFoundError):
            store.resolve(ALIAS)
