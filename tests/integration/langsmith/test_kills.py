"""A load in a process of its own, killed at seeded pages and run again: no page is asked for twice."""

import os
import random
import signal
import subprocess
import sys

import pytest

from langchain_finetune._spool import state_directory
from tests.fakes.langsmith_host import KEY, NEW, OLD, langsmith_host
from tests.fakes.recorded_runs import chat_run

NUM_PAGES = 20
LOAD = """
import sys
import langsmith
from langchain_finetune import LangSmithRunChatLoader
from langchain_finetune.loaders import _langsmith_api
from langchain_finetune.loaders._pacing import Budget

_langsmith_api.budget_for = lambda *_: Budget(10**9)
client = langsmith.Client(api_url=sys.argv[1], api_key=sys.argv[2], auto_batch_tracing=False)
loader = LangSmithRunChatLoader(
    client=client, project_name="my-app", end_time="2026-02-01", num_shards=int(sys.argv[3])
)
print(loader.invoke({}).sha256)
"""


class Load:
    """Runs the load again and again, killing it at queries of given numbers."""

    def __init__(self, host, num_shards):
        self.host = host
        self.num_shards = num_shards
        self.process = None

    def run(self, kill_at=None):
        def reached(number):
            if number == kill_at:
                os.kill(self.process.pid, signal.SIGKILL)

        command = [sys.executable, "-c", LOAD, self.host.url, KEY, str(self.num_shards)]
        with self.host.lock:  # no query is answered before the process is known
            self.host.reached = reached
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        output, _ = self.process.communicate(timeout=120)
        return output.strip()


@pytest.mark.parametrize("info", [OLD, NEW], ids=["v1", "v2"])
@pytest.mark.parametrize("num_shards", [1, 4])
def test_a_killed_load_goes_on_with_the_next_page(info, num_shards):
    with langsmith_host(info=info, page_v1=10, page_v2=10, project_start="2026-01-05T10:00:00") as host:
        host.runs = [chat_run(number, "hi") for number in range(NUM_PAGES * 10)]
        load = Load(host, num_shards)
        whole = load.run()
        num_queries = len(host.queries)
        host.queries.clear()
        kills = sorted(random.Random(num_shards).sample(range(2, num_queries), 2))
        for number in kills:
            assert load.run(kill_at=number) == ""
        assert load.run() == whole
        # What was under way at a kill is asked for again, and nothing else.
        assert num_queries < len(host.queries) <= num_queries + len(kills) * num_shards
        if num_shards == 1:
            cursors = [int(query.get("cursor") or 0) // 10 for query in host.queries]
            expected = list(range(NUM_PAGES))
            for number in reversed([number - 1 - index for index, number in enumerate(kills)]):
                expected.insert(number, expected[number])
            assert cursors == expected
        assert list((state_directory() / "queries").iterdir()) == []
