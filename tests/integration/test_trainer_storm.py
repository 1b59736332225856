"""A thousand looks at a job in bad weather: the right end, no hang, every event once and in order."""

import logging
import random

import httpx2
import openai
import pytest

from langchain_finetune.errors import JobCancelled, JobTimeoutError, TrainingFailed
from langchain_finetune.hosts import OPENAI
from langchain_finetune.trainers.hosts.connection import Connection
from langchain_finetune.trainers.job import FineTuneJob
from langchain_finetune.trainers.jobs.job_state import JobState
from langchain_finetune.trainers.placing.clearing import Ending
from langchain_finetune.trainers.placing.site import Site
from langchain_finetune.trainers.waiting.wait import Patience
from tests.fakes.colors import COLORS
from tests.fakes.openai_host import FakeHost
from tests.fakes.openai_plan import Plan
from tests.fakes.storm import Clock, Storm

NUM_LOOKS = 700
"""Answered looks; with a third failing there are a thousand polls."""

ODD_STATES = ("reticulating", "pending", "created", "pausing", "paused", "QUEUED", "Running")
A_DAY = 86_400.0


@pytest.fixture(params=["sync", "async"])
def color(request):
    return COLORS[request.param]


class Weather:
    """A job at a host in a storm, and whoever waits for it."""

    def __init__(self, seed, end="succeeded", num_looks=NUM_LOOKS, timeout=30 * A_DAY, **plan):
        self.random = random.Random(seed)
        self.clock = Clock()
        self.host = FakeHost()
        self.host.event_page_size = 5
        states = [self.random.choice((*ODD_STATES, *["running"] * 20)) for _ in range(num_looks)]
        self.host.plan = Plan(states=("validating_files", *states, end), num_steps=num_looks, **plan)
        self.host.files["file-1"] = {}
        body = b'{"model": "gpt-4.1-mini-2025-04-14", "training_file": "file-1"}'
        headers = {"authorization": "Bearer sk-fake"}
        self.id = self.host.respond("POST", "/v1/fine_tuning/jobs", headers, body).body["id"]
        self.storm = Storm(self.host, seed, self.clock)
        self.storm.before = self.stir
        self.num_listed = 0
        self.told = []
        self.job = self.come_back(timeout)

    def come_back(self, timeout=30 * A_DAY):
        transport = self.storm.transport()
        given = {"api_key": "sk-fake", "base_url": "http://host/v1", "max_retries": 0}
        connection = Connection(
            OPENAI,
            openai.OpenAI(http_client=httpx2.Client(transport=transport), **given),
            openai.AsyncOpenAI(http_client=httpx2.AsyncClient(transport=transport), **given),
            sleep=self.clock.sleep,
            asleep=self.clock.asleep,
        )
        patience = Patience(
            timeout_seconds=timeout,
            poll_interval_seconds=10.0,
            clock=self.clock,
            jitter=self.random.random,
        )
        state = JobState(id=self.id, status="validating_files")
        ending = Ending(self.id, Site.of(connection.client, OPENAI), clears_uploads=False)
        return FineTuneJob(state, connection=connection, patience=patience, ending=ending)

    def stir(self, request):
        """Events come while the pages are read, and are listed late."""
        has_ended = self.host.jobs[self.id]["status"] in ("succeeded", "failed", "cancelled", "canceled")
        if "/events" not in str(request.url) or has_ended:
            return
        self.num_listed += 1
        if self.random.random() < 0.3:
            self.host.add_event(self.id, f"late news {self.num_listed}", level="warn")

    @property
    def polls(self):
        return self.storm.num_requests

    def expected(self):
        """What is worth telling of the host's events, in their order."""
        return [
            event["message"]
            for event in self.host.events[self.id]
            if event["type"] == "metrics" or event["level"] in ("warn", "error")
        ]

    def told_events(self):
        known = set(self.expected())
        return [progress["message"] for progress in self.told if progress["message"] in known]


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_thousand_polls_in_a_storm_come_to_the_right_end(color, seed, caplog):
    weather = Weather(seed, model_late_by=5)
    with caplog.at_level(logging.WARNING):
        model = await color(weather.job, "result", on_progress=weather.told.append)
    assert model.model_name == weather.host.jobs[weather.id]["fine_tuned_model"]
    assert weather.polls >= 1000
    assert weather.polls / 4 < weather.storm.failed.total() < weather.polls / 2
    assert set(weather.storm.failed) == set(weather.storm._ways())
    assert weather.told_events() == weather.expected()
    steps = [e["data"]["step"] for e in weather.host.events[weather.id] if e["type"] == "metrics"]
    assert weather.told[-1]["step"] == len(steps) > NUM_LOOKS / 2
    statuses = [p["status"] for p in weather.told]
    assert statuses[-1] == "succeeded"
    assert "cancelled" not in statuses
    assert weather.told[-1]["waiting_for"] is None
    assert {p["waiting_for"] for p in weather.told} > {None, "the name of its model"}
    # Once that looks fail, once for the odd state.
    assert len(caplog.records) == 2
    assert max(weather.clock.pauses) <= 66.0


@pytest.mark.parametrize("end", ["failed", "cancelled", "canceled"])
async def test_a_job_that_ends_badly_in_a_storm_says_so(color, end):
    error = {"code": "invalid_training_file", "message": "Line 3 is no chat.", "param": "training_file"}
    last = ({"message": "the reason", "level": "error"},)
    weather = Weather(4, end, num_looks=60, error=error, last_events=last)
    expected = TrainingFailed if end == "failed" else JobCancelled
    with pytest.raises(expected, match=weather.id):
        await color(weather.job, "result", on_progress=weather.told.append)
    assert weather.told_events() == weather.expected()


async def test_a_host_that_never_answers_is_left_at_the_deadline(color):
    weather = Weather(5, timeout=7200.0)
    weather.storm.share = 1.1
    with pytest.raises(JobTimeoutError, match="attach"):
        await color(weather.job, "result", on_progress=weather.told.append)
    assert 7200.0 <= weather.clock.seconds < 7300.0
    assert all(p["retry_in_seconds"] is not None for p in weather.told[:-1])
    assert weather.told[-1]["left"]


async def test_last_events_that_are_listed_late_are_not_lost(color):
    weather = Weather(6, num_looks=20, last_events=({"message": "last words", "level": "warn"},))
    listed = []

    def list_events(request, job_id):
        page = answer(request, job_id)
        if weather.host.jobs[job_id]["status"] == "succeeded" and len(listed) < 2:
            listed.append(request)
            page["data"] = [event for event in page["data"] if event["message"] != "last words"]
        return page

    answer, weather.host._list_events = weather.host._list_events, list_events
    weather.storm.share = 0.0
    await color(weather.job, "result", on_progress=weather.told.append)
    assert len(listed) == 2
    assert weather.told_events() == weather.expected()
    assert weather.told[-1]["status"] == "succeeded"
