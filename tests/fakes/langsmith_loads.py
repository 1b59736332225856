"""What the tests of the LangSmith loader share: clients, runs of a trace, loads, a clock."""

import threading

import langsmith

from langchain_finetune import LangSmithRunChatLoader
from langchain_finetune._spool import read_jsonl, state_directory
from tests.fakes.langsmith_host import KEY
from tests.fakes.recorded_runs import calculator_run, chat_run, run_id

GOOD = {"user_score": {"n": 1, "avg": 1.0}}
BAD = {"user_score": {"n": 1, "avg": 0.0}}


class Clock:
    """Time that passes only in sleeps."""

    def __init__(self):
        self.now = 1000.0
        self.sleeps = []
        self._lock = threading.Lock()

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        with self._lock:
            self.sleeps.append(seconds)
            self.now += seconds


def client_of(host, **fields):
    settings = {"api_url": host.url, "api_key": KEY, "auto_batch_tracing": False}
    return langsmith.Client(**{**settings, **fields})


def root(number, feedback=None, **fields):
    fields = {"run_type": "chain", "inputs": {}, "outputs": {}, **fields}
    return chat_run(number, "root", feedback_stats=feedback, **fields)


def child(number, parent, **fields):
    return calculator_run(number, number, 2, trace_id=run_id(parent), parent_run_id=run_id(parent), **fields)


def ids(sessions):
    return [row["run_id"] for row in read_jsonl(sessions.path)]


def load(client, **fields):
    return LangSmithRunChatLoader(client=client, project_name="my-app", **fields).invoke({})


def rows(sessions):
    return list(read_jsonl(sessions.path))


def newest_first(*numbers):
    return [run_id(number) for number in sorted(numbers, reverse=True)]


def payload_queries(host):
    """The queries that ask for whole runs, not only for what hangs on their roots."""
    return [it for it in host.queries if "inputs" in map(str.lower, it.get("select", it.get("selects", ())))]


def left_over():
    room = state_directory() / "queries"
    return list(room.iterdir()) if room.exists() else []
