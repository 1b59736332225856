import threading

import pytest

from langchain_finetune._spool import state_directory
from langchain_finetune.errors import StorageError
from langchain_finetune.trainers.ledger.key_lock import KeyLock


def test_only_one_has_a_key_until_it_lets_go():
    with KeyLock("a" * 64) as first, KeyLock("a" * 64) as second:
        assert first.is_acquired()
        assert not second.is_acquired()
    with KeyLock("a" * 64) as third:
        assert third.is_acquired()


def test_other_keys_are_free():
    with KeyLock("a" * 64) as first, KeyLock("b" * 64) as second:
        assert first.is_acquired()
        assert second.is_acquired()


def test_threads_do_not_share_it():
    outcomes = []
    with KeyLock("a" * 64) as mine:
        assert mine.is_acquired()

        def try_it():
            with KeyLock("a" * 64) as theirs:
                outcomes.append(theirs.is_acquired())

        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert outcomes == [False]


def test_a_place_that_cannot_be_used_is_named():
    (state_directory() / "locks").write_text("a file, no directory")
    with pytest.raises(StorageError, match="locks"):
        KeyLock("a" * 64)


def test_a_lock_that_is_no_lock_is_named():
    (state_directory() / "locks" / f"{'a' * 16}.lock").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"\.lock"):
        KeyLock("a" * 64)


def test_a_lock_that_is_damaged_is_named():
    with KeyLock("0" * 64) as lock:
        assert lock.is_acquired()
    [path] = (state_directory() / "locks").iterdir()
    path.write_bytes(b"no lock at all, and longer than a header" * 40)
    with KeyLock("0" * 64) as lock, pytest.raises(StorageError, match=path.name):
        lock.is_acquired()
