"""Shards, loads that were broken off, and snapshots: the same runs every time."""

import asyncio
import shutil
from datetime import UTC, datetime

import pytest
from langchain_core.callbacks import BaseCallbackHandler

from langchain_finetune import LangSmithRunChatLoader
from langchain_finetune._spool import state_directory
from langchain_finetune._stage import result_of
from langchain_finetune.errors import (
    HostUnavailableError,
    SelectionError,
    SourceError,
)
from tests.fakes.langsmith_loads import (
    BAD,
    GOOD,
    child,
    client_of,
    ids,
    left_over,
    load,
    newest_first,
    root,
)
from tests.fakes.recorded_runs import chat_run, run_id


@pytest.mark.parametrize("num_shards", [1, 8])
def test_the_limit_is_never_run_into(old_host, clock, num_shards):
    old_host.clock = clock
    old_host.page_v1 = 10
    old_host.runs = [chat_run(number, "hi") for number in range(900)]
    assert load(client_of(old_host), num_shards=num_shards).num_sessions == 900
    assert (old_host.num_limited, len(old_host.queries) >= 90) == (0, True)


@pytest.mark.parametrize("feedback", [None, {"user_score": 1}])
def test_any_number_of_shards_gives_the_same_sessions(host, client, feedback):
    host.page_v2 = 20
    host.page_v1 = 20
    host.project_start = "2026-01-05T10:10:00"
    # Several start at the same moment, and some before their project.
    host.runs = [
        chat_run(number, "hi", feedback_stats=GOOD if number % 3 else BAD) for number in range(4000, 4400)
    ]
    host.runs += [root(101, GOOD), *(child(number, 101) for number in range(30))]
    found = {
        load(client, num_shards=num_shards, end_time="2026-01-06", feedback=feedback).sha256
        for num_shards in (1, 2, 5, 15)
    }
    assert len(found) == 1


@pytest.mark.parametrize("excludes_start", [False, True])
def test_no_run_falls_between_two_shards(host, client, excludes_start):
    host.excludes_start = excludes_start
    host.page_v1 = host.page_v2 = 20
    host.project_start = "2026-01-05T10:00:00"
    host.runs = [chat_run(number, "hi") for number in range(240)]
    sessions = load(client, num_shards=4, start_time="2026-01-05T10:00:00", end_time="2026-01-05T10:04:00")
    assert ids(sessions) == newest_first(*range(240))


def test_every_page_is_told(host, client):
    host.page_v2 = 100
    host.runs = [chat_run(number, "hi") for number in range(250)]
    told = Told()
    LangSmithRunChatLoader(client=client, project_name="my-app", num_shards=1).invoke(
        {}, {"callbacks": [told]}
    )
    pages = [data for data in told.events if "num_pages" in data]
    assert [(data["num_pages"], data["num_runs"]) for data in pages] == [(1, 100), (2, 200), (3, 250)]
    assert pages[0]["window"].startswith("2023-01-01 00:00 to ")


class Told(BaseCallbackHandler):
    run_inline = True

    def __init__(self):
        self.events = []

    def on_custom_event(self, name, data, **_):
        self.events.append(data)


def test_a_load_that_broke_off_goes_on_where_it_stood(host, client):
    host.page_v2 = 100
    host.runs = [chat_run(number, "hi") for number in range(450)]
    whole = load(client, num_shards=1, end_time="2026-02-01").sha256
    host.queries.clear()
    host.fails(4, 501)
    loader = LangSmithRunChatLoader(client=client, project_name="my-app", num_shards=1, end_time="2026-02-01")
    with pytest.raises(HostUnavailableError):
        loader.invoke({})
    assert len(left_over()) == 1
    assert loader.invoke({}).sha256 == whole
    assert [query.get("cursor") for query in host.queries] == [None, "100", "200", "300", "300", "400"]
    assert left_over() == []


async def test_a_cancelled_load_ends_and_the_next_one_is_whole(host, client):
    host.page_v2 = 100
    host.runs = [chat_run(number, "hi") for number in range(450)]
    loader = LangSmithRunChatLoader(client=client, project_name="my-app", num_shards=1, end_time="2026-02-01")
    loop, task = asyncio.get_running_loop(), asyncio.create_task(loader.ainvoke({}))
    host.reached = lambda number: loop.call_soon_threadsafe(task.cancel) if number == 2 else None
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(host.queries) < 5
    assert (await loader.ainvoke({})).num_sessions == 450


def test_an_open_window_that_broke_off_stays_the_one_it_was(host, client):
    host.page_v2 = 100
    host.runs = [chat_run(number, "hi") for number in range(250)]
    host.fails(3, 501)
    with pytest.raises(HostUnavailableError):
        load(client, num_shards=1)
    host.runs.append(chat_run(999, "later", start_time=datetime.now(UTC).isoformat()))
    assert load(client, num_shards=1).num_sessions == 250
    assert load(client, num_shards=1).num_sessions == 251


def test_a_snapshot_gives_the_same_runs_whatever_is_recorded_later(host, client):
    host.runs = [
        chat_run(1, "hi", feedback_stats=GOOD),
        chat_run(2, "hi", feedback_stats=GOOD),
        chat_run(3, "hi"),
    ]
    pinned = load(client, snapshot="july", feedback={"user_score": 1})
    num_queries = len(host.queries)
    host.runs[0]["feedback_stats"] = BAD
    host.runs.append(chat_run(4, "later", feedback_stats=GOOD))
    assert load(client, snapshot="july", feedback={"user_score": 1}) == pinned
    assert len(host.queries) == num_queries
    shutil.rmtree(state_directory() / "sessions")
    again = load(client, snapshot="july", feedback={"user_score": 1})
    assert ids(again) == newest_first(1, 2)
    assert again.selection == pinned.selection
    anew = load(client, snapshot="july", feedback={"user_score": 1}, refresh=True)
    assert ids(anew) == newest_first(2, 4)
    assert ids(load(client, snapshot="july", feedback={"user_score": 1})) == newest_first(2, 4)


def test_runs_of_a_snapshot_that_are_gone_are_reported(host, client):
    host.runs = [chat_run(1, "hi"), chat_run(2, "hi")]
    load(client, snapshot="july")
    shutil.rmtree(state_directory() / "sessions")
    del host.runs[0]
    again = load(client, snapshot="july")
    assert (ids(again), again.rejected_by_reason) == ([run_id(2)], {"not_found": 1})


def test_a_snapshot_of_another_selection_is_refused(host, client):
    host.runs = [chat_run(1, "hi", tags=["a"])]
    load(client, snapshot="july", tags=["a"])
    with pytest.raises(SelectionError, match=r"taken of another selection \(tags differ\).*refresh=True"):
        load(client, snapshot="july")


def test_a_damaged_snapshot_says_what_to_do(host, client):
    host.runs = [chat_run(1, "hi")]
    load(client, snapshot="july")
    (state_directory() / "snapshots" / "july.jsonl").write_text("{}\n")
    with pytest.raises(SourceError, match="refresh=True"):
        load(client, snapshot="july")
    assert load(client, snapshot="july", refresh=True).num_sessions == 1


def test_two_loads_of_the_same_query_at_once_do_not_disturb_each_other(host, client):
    host.page_v2 = 100
    host.runs = [chat_run(number, "hi") for number in range(250)]
    loader = LangSmithRunChatLoader(client=client, project_name="my-app", num_shards=1, end_time="2026-02-01")
    steps = loader._steps(loader._accept(None))
    next(steps)
    assert loader.invoke({}).num_sessions == 250
    assert result_of(steps).num_sessions == 250
    assert left_over() == []
