import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.loaders._pacing import Budget, NoLongerWantedError, budget_for


class Clock:
    def __init__(self):
        self.now = 0.0
        self.lock = threading.Lock()

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        with self.lock:
            self.now += seconds


def budget(clock, jitter=0.0, **fields):
    return Budget(clock=clock, sleep=clock.sleep, jitter=lambda: jitter, **fields)


def wanted():
    return True


def busiest(times, seconds):
    return max(sum(start <= time < start + seconds for time in times) for start in times)


def test_no_window_holds_more_than_its_requests():
    clock, times = Clock(), []
    paced = budget(clock)
    for number in range(100):
        paced.spend(wanted)
        times.append(clock.now)
        clock.now += 0.3 * (number % 3)
    assert busiest(times, 10.0) == 15


def test_threads_share_the_budget():
    clock, times = Clock(), []
    paced = budget(clock)

    def spend():
        for _ in range(20):
            paced.spend(wanted)
            times.append(clock.now)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 160 requests fill eleven windows, however the threads took turns.
    assert clock.now >= 100.0


def test_what_the_limit_does_not_count_is_only_held():
    clock = Clock()
    paced = budget(clock)
    for _ in range(100):
        paced.spend(wanted, is_counted=False)
    assert clock.now == 0.0
    paced.hold(5.0)
    paced.spend(wanted, is_counted=False)
    assert clock.now == pytest.approx(5.0)


def test_waiting_ends_when_nobody_wants_the_request_any_more():
    clock = Clock()
    paced = budget(clock)
    paced.hold(60.0)
    with pytest.raises(NoLongerWantedError):
        paced.spend(lambda: clock.now < 3)
    assert clock.now < 5


@given(st.integers(1, 50), st.none() | st.floats(0, 1e9), st.booleans(), st.floats(0, 1))
def test_pauses_are_bounded_and_never_shorter_than_asked(num_failures, asked, is_limit, jitter):
    pause = budget(Clock(), jitter).after_failure(num_failures, asked, is_limit=is_limit)
    assert 0 <= pause <= 330
    if asked is not None:
        assert pause >= min(asked, 300)
    elif is_limit:
        assert pause >= 5


def test_pauses_double_up_to_a_minute():
    paced = budget(Clock())
    assert [paced.after_failure(number, None, is_limit=False) for number in (1, 2, 3, 7, 20)] == [
        1,
        2,
        4,
        60,
        60,
    ]


def test_a_key_has_one_budget_for_the_whole_process():
    assert budget_for("https://host", "key") is budget_for("https://host", "key")
    assert budget_for("https://host", "key") is not budget_for("https://host", "other")
