import sqlite3
from contextlib import closing

import pytest

from langchain_finetune._spool import clean
from langchain_finetune.loaders import _query_spool
from langchain_finetune.loaders._query_spool import QuerySpool
from tests.fakes.recorded_runs import chat_run, run_id

DAY = 86_400.0


def taken(spool):
    return [(run["id"], feedback, correction) for _, run, feedback, correction in spool.runs()]


def test_pages_are_there_when_it_is_opened_again():
    with QuerySpool("k", DAY) as spool:
        spool.add_parts(["first", "second"], stage="runs")
        spool.enter(1, "next", runs=[chat_run(1, "hi")], roots={run_id(1): {"a": 1.0}})
        spool.enter(2, None, runs=[chat_run(2, "hi")], corrections={run_id(2): "better"})
    with QuerySpool("k", DAY) as spool:
        assert [(it.number, it.query, it.cursor) for it in spool.open_parts()] == [(1, "first", "next")]
        assert taken(spool) == [(run_id(2), {}, "better"), (run_id(1), {"a": 1.0}, None)]
        assert (spool.num_pages, spool.num_runs, spool.meta("stage")) == (2, 2, "runs")
        spool.remove()
    with QuerySpool("k", DAY) as spool:
        assert spool.num_pages == 0


def test_a_run_is_taken_once_and_the_order_is_the_runs_own():
    with QuerySpool("k", DAY) as spool:
        spool.add_parts(["q"])
        for numbers in ((3, 1), (2, 3)):
            spool.enter(1, "c", runs=[chat_run(number, "hi") for number in numbers])
        assert [number for number, *_ in spool.runs()] == [run_id(3), run_id(2), run_id(1)]


def test_a_page_that_fails_half_way_is_not_there_at_all():
    def broken():
        yield "unit"
        raise KeyError

    with QuerySpool("k", DAY) as spool:
        spool.add_parts(["q"])
        with pytest.raises(KeyError):
            spool.enter(1, None, runs=[chat_run(1, "hi")], units=broken())
        assert (spool.num_runs, len(spool.open_parts()), spool.num_pages) == (0, 1, 0)


def test_an_old_query_is_begun_anew(monkeypatch):
    with QuerySpool("k", DAY) as spool:
        spool.add_parts(["q"])
        now = spool.meta("begun")
    monkeypatch.setattr(_query_spool.time, "time", lambda: now + DAY + 1)
    with QuerySpool("k", DAY) as spool:
        assert spool.open_parts() == []


def test_two_at_once_keep_their_own_pages():
    with QuerySpool("k", DAY) as first, QuerySpool("k", DAY) as second:
        assert first.directory != second.directory
        second.remove()
        assert not second.directory.exists()
        assert first.directory.exists()


def test_a_damaged_file_is_begun_anew():
    with QuerySpool("k", DAY) as spool:
        directory = spool.directory
    for file in directory.iterdir():
        file.write_bytes(b"damaged" * 1000)
    with QuerySpool("k", DAY) as spool:
        assert spool.num_pages == 0


def test_half_a_surrogate_pair_is_kept_as_it_is():
    with QuerySpool("k", DAY) as spool:
        spool.add_parts(["q"])
        spool.enter(1, None, runs=[chat_run(1, "half \ud800")])
        ((_, run, *_),) = spool.runs()
        assert run["inputs"] == chat_run(1, "half \ud800")["inputs"]


def test_a_run_too_deep_to_be_kept_is_counted_all_the_same():
    deep = {}
    for _ in range(3000):
        deep = {"a": deep}
    with QuerySpool("k", DAY) as spool:
        spool.add_parts(["q"])
        spool.enter(1, None, runs=[chat_run(1, "hi", extra=deep), chat_run(2, "hi")])
        assert [(number, run is None) for number, run, *_ in spool.runs()] == [
            (run_id(2), False),
            (run_id(1), True),
        ]


def test_what_was_broken_off_is_cleaned_with_the_sessions():
    with QuerySpool("k", DAY) as spool:
        spool.add_parts(["q"])
    assert clean(older_than_days=0).num_sessions == 1
    assert not spool.directory.exists()


def test_it_is_one_file_of_sqlite():
    with QuerySpool("k", DAY) as spool:
        directory = spool.directory
    with closing(sqlite3.connect(directory / "query.sqlite")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
