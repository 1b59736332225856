"""SIGTERM: the step under way is finished, or there is none."""

import os
import signal

import pytest

from finetune_server.training.stop_request import EXIT_STOPPED, StopRequest


@pytest.fixture
def stop():
    before = signal.getsignal(signal.SIGTERM)
    request = StopRequest()
    request.listen()
    yield request
    signal.signal(signal.SIGTERM, before)


def test_while_steps_are_taken_a_request_waits_to_be_looked_at(stop):
    stop.hear()
    assert not stop.is_made
    signal.raise_signal(signal.SIGTERM)
    assert stop.is_made


def test_before_the_first_step_the_process_ends_at_once(stop, monkeypatch):
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    signal.raise_signal(signal.SIGTERM)
    assert codes == [EXIT_STOPPED]
