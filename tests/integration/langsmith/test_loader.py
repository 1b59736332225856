"""Selections with the real langsmith client's settings against a LangSmith over real HTTP."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from langchain_finetune import LangSmithRunChatLoader, RunSelection
from langchain_finetune.errors import SelectionError, SourceError
from tests.fakes.langsmith_host import NEW, OLD, Failure, langsmith_host
from tests.fakes.langsmith_loads import (
    BAD,
    GOOD,
    child,
    client_of,
    ids,
    left_over,
    load,
    newest_first,
    payload_queries,
    root,
    rows,
)
from tests.fakes.recorded_runs import chat_run, run_id


def test_all_pages_of_a_project_are_read(host, client):
    host.page_v2 = 100
    host.runs = [chat_run(number, f"question {number}") for number in range(250)]
    sessions = load(client, num_shards=1)
    assert ids(sessions) == newest_first(*range(250))
    assert sessions.source == "the LangSmith project 'my-app'"
    assert [query.get("cursor") for query in host.queries] == [None, "100", "200"]
    assert left_over() == []


def test_both_apis_give_the_same_sessions(clock):
    found = []
    for info in (OLD, NEW):
        with langsmith_host(info=info) as host:
            host.runs = [root(101, GOOD), child(1, 101), chat_run(2, "hi", feedback_stats=BAD)]
            found.append(load(client_of(host)).sha256)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("info", "path"),
    [
        (OLD, "/runs/query"),
        (NEW, "/api/v2/runs/query"),
        ({}, "/runs/query"),
        ({**NEW, "version": "0.15.9"}, "/runs/query"),
        ({**NEW, "instance_flags": {"ch_query_enabled": True}}, "/runs/query"),
        ({**NEW, "instance_flags": None}, "/runs/query"),
        (
            {"version": "dev", "instance_flags": {"sdb_query_enabled": True, "ch_query_enabled": False}},
            "/api/v2/runs/query",
        ),
    ],
)
def test_the_api_is_the_newest_that_the_server_has(clock, info, path):
    with langsmith_host(info=info) as host:
        host.runs = [chat_run(1, "hi")]
        load(client_of(host))
        assert {request.path for request in host.requests if "query" in request.path} == {path}


def test_an_address_with_the_path_of_the_first_api_serves_both(host):
    host.runs = [chat_run(1, "hi")]
    client = client_of(host, api_url=f"{host.url}/api/v1")
    assert load(client).num_sessions == 1
    assert {it.path for it in host.requests} <= {
        "/api/v1/info", "/api/v1/sessions", "/api/v1/runs/query", "/api/v2/runs/query",
    }  # fmt: skip


def test_the_second_api_gets_a_window_columns_and_uuids(new_host):
    new_host.runs = [chat_run(1, "hi")]
    load(client_of(new_host))
    (query,) = new_host.queries
    assert query["project_ids"] == [new_host.project_id]
    assert query["min_start_time"] < "2023-01-02"
    assert (query["run_type"], query["page_size"]) == ("LLM", 1000)
    assert {"INPUTS", "OUTPUTS", "PROJECT_ID"} <= set(query["selects"])
    assert "ATTACHMENTS" not in query["selects"]


def test_neither_attachments_nor_a_limit_are_asked_for(old_host):
    old_host.runs = [chat_run(number, "hi") for number in range(30)]
    load(client_of(old_host), limit=25)
    (query,) = old_host.queries
    assert "s3_urls" not in query["select"]
    assert "limit" not in query
    assert query["run_type"] == "llm"


def test_no_deprecation_is_shown(host, client, recwarn):
    host.runs = [chat_run(1, "hi")]
    load(client)
    LangSmithRunChatLoader([run_id(1)], client, project_name="my-app").invoke({})
    assert not recwarn.list


def test_a_limit_takes_the_newest_and_ends_the_paging(host, client):
    host.page_v2 = 100
    host.runs = [chat_run(number, "hi") for number in range(350)]
    sessions = load(client, limit=150)
    assert ids(sessions) == newest_first(*range(200, 350))
    assert len(host.queries) == 2


def test_feedback_on_the_root_or_on_the_run_selects(host, client):
    host.runs = [
        root(101, GOOD),
        child(1, 101),
        root(102, BAD),
        child(2, 102),
        root(103),
        child(3, 103, feedback_stats=GOOD),
        root(104, GOOD),
        child(4, 104, feedback_stats=BAD),
        chat_run(5, "alone", feedback_stats=GOOD),
    ]
    sessions = load(client, feedback={"user_score": 1})
    assert ids(sessions) == newest_first(1, 3, 5)
    assert all(row["feedback"] == {"user_score": 1.0} for row in rows(sessions))


def test_a_predicate_sees_all_scores_of_run_and_root(host, client):
    host.runs = [
        root(101, GOOD),
        child(1, 101, feedback_stats={"style": {"n": 1, "avg": 0.5}}),
        chat_run(2, "hi"),
    ]
    sessions = load(client, feedback=lambda scores: scores == {"user_score": 1.0, "style": 0.5})
    assert ids(sessions) == [run_id(1)]
    assert "lambda" in sessions.model_dump_json()


def test_a_predicate_that_fails_is_named_and_not_the_runs(host, client):
    host.runs = [chat_run(1, "my secret", feedback_stats=GOOD)]
    with pytest.raises(SelectionError, match="the predicate given as feedback fails with KeyError") as caught:
        load(client, feedback=lambda scores: scores["style"] > 0)
    assert "secret" not in str(caught.value)


def test_unrated_runs_are_kept_by_choice(host, client):
    host.runs = [
        chat_run(1, "good", feedback_stats=GOOD),
        chat_run(2, "bad", feedback_stats=BAD),
        chat_run(3, "-"),
    ]
    assert ids(load(client, feedback={"user_score": 1})) == newest_first(1)
    assert ids(load(client, feedback={"user_score": 1}, unrated="keep")) == newest_first(1, 3)


def test_two_keys_of_feedback_may_lie_on_two_runs(host, client):
    host.runs = [
        root(101, GOOD),
        child(1, 101, feedback_stats={"style": {"n": 1, "avg": 1.0}}),
        root(102, GOOD),
        child(2, 102),
    ]
    assert ids(load(client, feedback={"user_score": 1, "style": 1})) == [run_id(1)]


def corrected(number, correction, **fields):
    record = {"id": str(uuid.uuid4()), "run_id": run_id(number), "key": "fix", "score": None}
    return {**record, "correction": correction, **fields}


def test_a_correction_is_the_target_where_it_is_preferred(host, client):
    host.runs = [chat_run(number, "hi") for number in range(1, 5)]
    host.feedback = [
        corrected(1, "older", modified_at="2026-01-01T00:00:00"),
        corrected(1, {"content": "better"}, modified_at="2026-01-02T00:00:00"),
        corrected(2, {"stars": 3}),
        corrected(3, None),
    ]
    sessions = load(client, corrections="prefer")
    found = {row["run_id"]: row["correction"] for row in rows(sessions)}
    assert found[run_id(1)] == {"role": "assistant", "content": "better"}
    assert [found[run_id(number)] for number in (2, 3, 4)] == [None] * 3
    assert (sessions.num_corrected, sessions.num_unreadable_corrections) == (1, 1)
    only = load(client, corrections="only")
    assert (ids(only), only.num_unselected) == ([run_id(1)], 3)
    assert all(row["correction"] is None for row in rows(load(client)))


def test_a_correction_of_the_root_is_one_of_the_last_answer_of_the_trace(host, client):
    host.runs = [root(101), child(1, 101), child(2, 101), root(102), child(3, 102)]
    host.feedback = [corrected(101, "of the root"), corrected(3, "own"), corrected(102, "not this one")]
    found = {row["run_id"]: row["correction"] for row in rows(load(client, corrections="prefer"))}
    assert found[run_id(1)] is None
    assert found[run_id(2)]["content"] == "of the root"
    assert found[run_id(3)]["content"] == "own"


def test_a_limit_counts_a_root_s_correction_once(host, client):
    host.page_v1 = host.page_v2 = 10
    host.runs = [root(1000), *(child(it, 1000) for it in range(100, 130)), root(1001), child(1, 1001)]
    host.feedback = [corrected(1000, "of the root"), corrected(1, "own")]
    sessions = load(client, corrections="only", limit=2)
    assert ids(sessions) == newest_first(1, 129)


def test_corrections_are_fetched_in_batches(host, client):
    host.runs = [chat_run(number, "hi") for number in range(120)]
    host.feedback = [
        corrected(7, str(number), modified_at=f"2026-01-01T00:{number // 60:02}:{number % 60:02}")
        for number in range(130)
    ]
    sessions = load(client, corrections="only")
    assert [row["correction"]["content"] for row in rows(sessions)] == ["129"]
    num_requests = len([it for it in host.requests if it.path == "/feedback"])
    assert num_requests <= 5


def of_thread(run, thread):
    run["extra"]["metadata"]["session_id"] = thread
    return run


def test_a_matching_root_brings_its_whole_trace(host, client):
    host.runs = [
        root(101, GOOD, name="agent"),
        child(1, 101),
        child(2, 101, feedback_stats=BAD, tags=["x"]),
        root(102, BAD, name="agent"),
        child(3, 102, feedback_stats=GOOD),
        root(103, GOOD, name="other"),
        child(4, 103, name="agent"),
    ]
    sessions = load(client, scope="trace", feedback={"user_score": 1}, run_name="agent")
    assert ids(sessions) == newest_first(1, 2)
    assert sessions.num_runs == 2


def test_a_matching_root_brings_its_whole_thread(host, client):
    host.runs = [
        of_thread(root(101, GOOD), "t1"),
        child(1, 101),
        of_thread(root(102), "t1"),
        child(2, 102),
        of_thread(root(103), "t2"),
        child(3, 103),
        root(104, GOOD),
        child(4, 104),
    ]
    sessions = load(client, scope="thread", feedback={"user_score": 1})
    assert ids(sessions) == newest_first(1, 2, 4)
    by_predicate = load(client, scope="thread", feedback=lambda scores: scores.get("user_score", 0) >= 1)
    assert ids(by_predicate) == ids(sessions)


def test_a_trace_goes_on_after_the_window_and_a_thread_does_not(host, client):
    host.runs = [
        of_thread(root(101, start_time="2026-01-05T10:00:00"), "t1"),
        child(1, 101, start_time="2026-01-05T10:59:00"),
        child(2, 101, start_time="2026-01-05T11:01:00"),
        of_thread(root(102, start_time="2026-01-05T09:00:00"), "t1"),
        child(3, 102, start_time="2026-01-05T09:01:00"),
        of_thread(root(103, start_time="2026-01-05T12:00:00"), "t1"),
        child(4, 103, start_time="2026-01-05T12:01:00"),
    ]
    window = {"start_time": "2026-01-05T09:30:00", "end_time": "2026-01-05T11:00:00"}
    assert sorted(ids(load(client, scope="run", **window))) == sorted(newest_first(1))
    assert sorted(ids(load(client, scope="trace", **window))) == sorted(newest_first(1, 2))
    assert sorted(ids(load(client, scope="thread", **window))) == sorted(newest_first(1, 3))


def test_metadata_of_a_root_may_be_other_than_text(host, client):
    host.runs = [root(101), child(1, 101), root(102), child(2, 102)]
    host.runs[0]["extra"]["metadata"]["version"] = 3
    assert ids(load(client, scope="trace", metadata={"version": 3})) == [run_id(1)]


def test_named_fields_are_asked_of_the_server(host, client):
    host.runs = [
        chat_run(1, "hi", tags=["prod", 'quo"ted']),
        chat_run(2, "hi", tags=["prod"]),
        chat_run(3, "hi", tags=["prod", 'quo"ted'], name="other"),
        chat_run(4, "hi", tags=["prod", 'quo"ted'], start_time="2026-01-07T00:00:00"),
    ]
    for run in host.runs:
        run["extra"]["metadata"]["env"] = "prod"
    sessions = load(
        client,
        tags=["prod", 'quo"ted'],
        metadata={"env": "prod"},
        run_name="ChatOpenAI",
        start_time="2026-01-01",
        end_time="2026-01-06",
    )
    assert ids(sessions) == [run_id(1)]
    assert sessions.num_runs == 1


def test_filters_of_the_query_language_are_passed_on(host, client):
    host.runs = [root(101), child(1, 101), child(2, 101, name="other")]
    sessions = load(
        client,
        filter='eq(name, "other")',
        trace_filter='eq(name, "ChatOpenAI")',
        tree_filter='eq(name, "other")',
    )
    assert ids(sessions) == [run_id(2)]
    assert host.queries[0]["tree_filter"] == 'eq(name, "other")'


@pytest.mark.parametrize("depth", [300, 800])
def test_a_deep_run_is_reported_and_not_fatal(host, client, depth):
    deep = {}
    for _ in range(depth):
        deep = {"a": deep}
    host.runs = [chat_run(1, "hi"), chat_run(2, "hi"), chat_run(3, "hi")]
    host.runs[1]["extra"]["metadata"]["deep"] = deep
    sessions = load(client)
    assert (ids(sessions), sessions.rejected_by_reason) == (newest_first(1, 3), {"too_deep": 1})


def test_an_answer_too_deep_to_be_read_is_a_clear_error(host, client):
    host.failures = {1: [Failure(200, body=b'{"runs": ' + b"[" * 100_000)]}
    with pytest.raises(SourceError, match="nested too deeply"):
        load(client)


def test_run_ids_are_fetched_in_batches(host, client):
    host.runs = [root(1000, GOOD), *(child(number, 1000) for number in range(250))]
    wanted = [run_id(number) for number in range(250)]
    loader = LangSmithRunChatLoader(iter(wanted), client, project_name="my-app")
    assert ids(loader.invoke({"feedback": {"user_score": 1}})) == wanted
    assert len(payload_queries(host)) == 3


def test_run_ids_without_a_project_need_the_first_api(old_host, new_host):
    for host in (old_host, new_host):
        host.runs = [chat_run(1, "hi")]
    assert LangSmithRunChatLoader([run_id(1)], client_of(old_host)).invoke({}).num_sessions == 1
    with pytest.raises(SelectionError, match="within a project only: name it"):
        LangSmithRunChatLoader([run_id(1)], client_of(new_host)).invoke({})


def test_roots_are_looked_up_in_fewer_at_once_where_the_server_refuses_many(new_host):
    new_host.most_ids = 100
    new_host.runs = [run for it in range(150) for run in (root(1000 + it, GOOD), child(it, 1000 + it))]
    sessions = load(client_of(new_host))
    assert all(row["feedback"] == {"user_score": 1.0} for row in rows(sessions))
    assert [len(query["ids"]) for query in new_host.queries[1:]] == [150, 100, 50]


def test_an_unknown_run_id_is_reported(host, client):
    host.runs = [chat_run(1, "hi")]
    sessions = LangSmithRunChatLoader([run_id(1), run_id(2)], client, project_name="my-app").invoke({})
    assert ids(sessions) == [run_id(1)]
    assert (sessions.num_runs, sessions.rejected_by_reason) == (2, {"not_found": 1})


def test_an_iterator_of_the_old_client_gives_the_same_runs_twice(old_host):
    old_host.runs = [chat_run(number, "hi") for number in range(120)]
    client = client_of(old_host)
    with pytest.warns(DeprecationWarning, match="list_runs"):
        runs = client.list_runs(
            project_name="my-app",
            select=["id", "inputs", "outputs", "run_type", "name", "start_time", "trace_id", "end_time"],
        )
    loader = LangSmithRunChatLoader(runs, client)
    first = loader.invoke({})
    num_queries = len(old_host.queries)
    assert loader.invoke({}) == first
    assert len(list(loader.lazy_load())) == 120
    assert len(old_host.queries) == num_queries


async def test_ainvoke_gives_the_same(host, client):
    host.runs = [chat_run(number, "hi") for number in range(3)]
    loader = LangSmithRunChatLoader(client=client, end_time="2026-02-01")
    assert await loader.ainvoke("my-app") == loader.invoke(RunSelection(project_name="my-app"))


def test_an_open_window_is_closed_and_shown(host, client):
    host.runs = [chat_run(1, "hi")]
    before = datetime.now(UTC)
    assert before <= load(client).selection.end_time <= datetime.now(UTC)


def test_a_window_that_ends_before_it_starts_is_refused(host, client):
    with pytest.raises(SelectionError, match="swap them"):
        load(client, start_time="2026-01-02", end_time="2026-01-01")


@pytest.mark.parametrize(("start", "is_told"), [(None, True), ("2026-01-01", True), ("recent", False)])
def test_retention_is_said_out_loud(host, client, caplog, start, is_told):
    start = (datetime.now(UTC) - timedelta(days=13)).isoformat() if start == "recent" else start
    host.runs = [chat_run(1, "hi", start_time=datetime.now(UTC).isoformat())]
    load(client, start_time=start)
    assert ("14 days" in caplog.text) is is_told


def test_nothing_found_says_the_window_and_the_retention_and_is_asked_again(host, client):
    with pytest.raises(SelectionError, match=r"no chat-model run.*Asked for were runs.*14 days"):
        load(client)
    host.runs = [chat_run(1, "hi")]
    assert load(client).num_sessions == 1
