"""Files are sent once: found again by ledger and listing, shared, sent anew only where they are of no use."""

from dataclasses import replace

import httpx2
import pytest

from langchain_finetune._spool import state_directory
from langchain_finetune.errors import AuthenticationFailedError, HostError
from langchain_finetune.trainers.ledger.key_lock import KeyLock
from tests.fakes.loopback import Response
from tests.fakes.openai_answers import HostError as Refusal
from tests.fakes.openai_host import FakeHost
from tests.fakes.placer import BrokenOffError, Placer, order_in, posts, uploads


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture
def order(tmp_path):
    return order_in(tmp_path)


def forget():
    for file in state_directory().glob("ledger.sqlite*"):
        file.unlink()


def other(order, **changes):
    """Another order on the same rows."""
    return replace(order, **{"suffix": "other", **changes})


@pytest.mark.parametrize("has_ledger", [True, False])
def test_another_order_on_the_same_rows_shares_the_uploads(host, order, has_ledger):
    Placer(host)(order)
    if not has_ledger:
        forget()
    Placer(host)(other(order))
    assert uploads(host) == 2
    first, second = (request.body for request in host.sent("POST", "/fine_tuning/jobs"))
    assert first["training_file"] == second["training_file"]
    assert first["validation_file"] == second["validation_file"]


def test_what_the_ledger_names_is_found_by_one_look_each(host, order):
    Placer(host)(order)
    num_lists = len(host.sent("GET", "/files"))
    Placer(host)(other(order))
    assert len(host.sent("GET", "/files")) == num_lists
    assert len(host.sent("GET", "/files/file-.*")) == 2


def test_other_rows_with_the_same_validation_rows_share_that_file(host, order):
    Placer(host)(order)
    Placer(host)(replace(order, train_sha256="d" * 64))
    assert uploads(host) == 3
    first, second = (request.body for request in host.sent("POST", "/fine_tuning/jobs"))
    assert first["validation_file"] == second["validation_file"]
    assert first["training_file"] != second["training_file"]


@pytest.mark.parametrize("has_ledger", [True, False])
@pytest.mark.parametrize(
    "change", [{"bytes": 1}, {"status": "error"}, {"expires_at": 2_000_000_000 + 3600}, None]
)
def test_one_that_is_of_no_use_is_sent_anew(host, order, change, has_ledger):
    Placer(host)(order)
    for file in list(host.files.values()):
        if change is None:
            del host.files[file["id"]]
        else:
            file.update(change)
    if not has_ledger:
        forget()
    Placer(host)(other(order))
    assert uploads(host) == 4


def test_one_that_expires_later_is_used(host, order):
    Placer(host)(order)
    for file in host.files.values():
        file["expires_at"] = 2_000_000_000 + 90_000
    Placer(host)(other(order))
    assert uploads(host) == 2


@pytest.mark.parametrize("nth", [1, 2])
def test_what_a_killed_run_uploaded_is_used(host, order, nth):
    for _ in range(nth):
        placer = Placer(host)
        placer.dies_at = ("POST", "/files")
        with pytest.raises(BrokenOffError):
            placer(order)
    Placer(host)(order)
    assert (uploads(host), posts(host)) == (2, 1)


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("answer", [500, 429, Response(200, b"<html>"), httpx2.ReadTimeout("slow")])
def test_an_upload_that_fails_in_passing_is_looked_for_before_it_is_sent_again(host, order, answer, is_after):
    host.fail("POST", "/files", answer, is_after=is_after)
    placer = Placer(host, max_retries=5)
    placer(order)
    assert len(host.contents) == 2
    assert uploads(host) == (2 if is_after else 3)
    assert placer.pauses == [1.0]


def test_a_host_that_stays_broken_is_named_and_what_is_there_is_used_later(host, order):
    placer = Placer(host)
    answer = placer.connection._answer

    def second_upload_fails(call):
        if len(host.contents) == 1 and not host.faults:
            host.fail("POST", "/files", 503, times=3)
        return answer(call)

    placer.connection._answer = second_upload_fails
    with pytest.raises(HostError, match="503"):
        placer(order)
    assert placer.pauses == [1.0, 4.0]
    assert len(host.files) == 1
    Placer(host)(order)
    assert len(host.contents) == 2


def test_a_host_without_a_list_of_files_gets_them_all_the_same(host, order):
    host.manners.lists_files = False
    Placer(host)(order)
    Placer(host)(other(order))
    assert uploads(host) == 2


def test_a_key_that_may_not_look_stops_it(host, order):
    host.fail("GET", "/files", Refusal(401, "no", "invalid_api_key").response)
    with pytest.raises(AuthenticationFailedError):
        Placer(host)(order)
    assert uploads(host) == 0


def test_a_list_that_does_not_end_is_left(host, order, monkeypatch):
    for number in range(3):
        host.files[f"file-{number}"] = {
            "id": f"file-{number}",
            "object": "file",
            "bytes": 3,
            "created_at": 1,
            "status": "processed",
            "filename": "other.jsonl",
            "purpose": "fine-tune",
        }
    listed = host._list_files
    monkeypatch.setattr(
        host, "_list_files", lambda request: {**listed(replace(request, query={})), "has_more": True}
    )
    Placer(host)(order)
    assert uploads(host) == 2
    assert len(host.sent("GET", "/files")) == 20


def test_a_second_sender_of_the_same_rows_waits_and_finds(host, order):
    placer, locks = Placer(host), []
    perform = placer.perform

    def other_sends(act):
        # The first pause is for the other one's lock, which it lets go of now.
        if placer.pauses and locks:
            locks.pop().__exit__(None, None, None)
        return perform(act)

    Placer(host)(other(order))
    lock_names = {path.name for path in (state_directory() / "locks").iterdir()}
    file_lock = next(name for name in lock_names if _is_lock_of_training_file(name, placer))
    lock = KeyLock(file_lock.removesuffix(".lock"))
    assert lock.is_acquired()
    locks.append(lock)
    placer.perform = other_sends
    placer(order)
    assert placer.pauses[:1] == [0.1]
    assert uploads(host) == 2


def _is_lock_of_training_file(name, placer):
    import hashlib  # noqa: PLC0415

    full = f"{placer.site().ledger.identity} train-{'a' * 64}.jsonl"
    return name == hashlib.sha256(full.encode()).hexdigest()[:16] + ".lock"
