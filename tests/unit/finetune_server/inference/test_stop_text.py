"""A stop text ends a text at the same place, however the text arrives."""

from hypothesis import given
from hypothesis import strategies as st

from finetune_server.inference.stop_text import StopText

letters = st.text("ab", max_size=12)


def cut(text: str, stops: list[str], sizes: list[int]) -> str:
    stop, place, kept = StopText(stops), 0, ""
    for size in [*sizes, len(text)]:
        kept += stop.feed(text[place : place + size])
        place += size
        if stop.found is not None:
            return kept
    return kept + stop.finish()


@given(letters, st.lists(letters, max_size=3), st.lists(st.integers(1, 4), max_size=12))
def test_the_text_ends_at_the_first_stop_text(text, stops, sizes):
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    if len({stop for stop in stops if stop}) < 2:
        assert cut(text, stops, sizes) == text[: min(places, default=len(text))]
    else:
        assert text.startswith(cut(text, stops, sizes))
        assert cut(text, stops, []) == text[: min(places, default=len(text))]


def test_text_is_handed_on_as_soon_as_it_cannot_be_a_stop_text():
    stop = StopText(["</tool_call>"])
    assert [stop.feed(piece) for piece in ("a <", "b", "> </tool", "_call", ">x")] == [
        "a ",
        "<b",
        "> ",
        "",
        "",
    ]
    assert stop.found == "</tool_call>"
