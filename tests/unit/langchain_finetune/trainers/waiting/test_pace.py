from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.trainers.waiting.pace import Pace


def steady(interval=10.0):
    return Pace(interval, lambda: 0.0)


def test_pauses_grow_while_nothing_changes_and_news_brings_them_back():
    pace = steady()
    assert [round(pace.after_look(is_news=False), 2) for _ in range(4)] == [10.0, 12.0, 14.4, 17.28]
    assert [pace.after_look(is_news=True), pace.after_look(is_news=False)] == [10.0, 12.0]


def test_pauses_stop_growing():
    for interval, longest in ((10.0, 60.0), (0.5, 3.0), (300.0, 300.0)):
        pace = steady(interval)
        assert max(pace.after_look(is_news=False) for _ in range(50)) == longest


def test_failures_double_the_pause_and_an_answer_ends_that():
    pace = steady()
    assert [pace.after_failure(None) for _ in range(4)] == [20.0, 40.0, 60.0, 60.0]
    pace.after_look(is_news=True)
    assert pace.after_failure(None) == 20.0


def test_what_the_host_asks_for_is_kept_within_bounds():
    assert [steady().after_failure(seconds) for seconds in (0.0, 3.0, 30.0, 9999.0)] == [
        10.0,
        10.0,
        30.0,
        300.0,
    ]


@given(st.lists(st.none() | st.booleans() | st.floats(0, 1e6), max_size=60), st.randoms())
def test_every_pause_is_bounded_and_none_is_shorter_than_asked(looks, random):
    pace = Pace(10.0, random.random)
    for look in looks:
        if isinstance(look, bool):
            assert 8.0 <= pace.after_look(is_news=look) <= 60.0
        elif look is None:
            assert 10.0 <= pace.after_failure(None) <= 60.0
        else:
            assert min(look, 300.0) <= pace.after_failure(look) <= 330.0
