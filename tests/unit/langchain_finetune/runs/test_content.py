import pytest

from langchain_finetune.runs.content import Aside, content_of, text_of, unescape
from langchain_finetune.runs.rejections import Reason, Unreadable

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ("hi", {"type": "text", "text": "hi"}),
        ({"type": "text", "text": "hi", "cache_control": {}, "index": 0}, {"type": "text", "text": "hi"}),
        (IMAGE, IMAGE),
        (
            {"type": "image_url", "image_url": "https://x/a.png"},
            {"type": "image_url", "image_url": {"url": "https://x/a.png"}},
        ),
        ({"type": "image", "base64": "AAAA", "mime_type": "image/png"}, IMAGE),
        ({"type": "image", "source_type": "base64", "data": "AAAA", "mime_type": "image/png"}, IMAGE),
        ({"type": "image", "source": {"type": "base64", "data": "AAAA", "media_type": "image/png"}}, IMAGE),
        (
            {"type": "image", "url": "https://x/a.png"},
            {"type": "image_url", "image_url": {"url": "https://x/a.png"}},
        ),
        (
            {"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        ),
        (
            {"type": "file", "base64": "AAAA", "mime_type": "application/pdf", "filename": "a.pdf"},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
        ),
        ({"type": "file", "file_id": "file-1"}, {"type": "file", "file": {"file_id": "file-1"}}),
    ],
)
def test_blocks_become_the_parts_that_langchain_sends(block, part):
    assert content_of([block]) == [part]


@pytest.mark.parametrize(
    "kind", ["tool_use", "function_call", "tool_call", "thinking", "reasoning", "redacted_thinking"]
)
def test_what_only_a_model_says_is_put_aside(kind):
    aside = Aside()
    assert content_of([{"type": kind, "id": "x", "reasoning": "Hm.", "thinking": "Hm."}], aside) == []
    assert aside.calls or aside.reasoning == ["Hm."]
    with pytest.raises(Unreadable):
        content_of([{"type": kind, "id": "x"}])


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"type": "web_search_call"}, Reason.BUILTIN_TOOL),
        ({"type": "server_tool_call"}, Reason.BUILTIN_TOOL),
        ({"type": "image_generation_call"}, Reason.BUILTIN_TOOL),
        ({"type": "video"}, Reason.UNSUPPORTED_CONTENT),
        ({"type": "text", "text": None}, Reason.UNSUPPORTED_CONTENT),
        ({"type": "image"}, Reason.UNSUPPORTED_CONTENT),
        ({"type": "image_url"}, Reason.UNSUPPORTED_CONTENT),
        ({"type": "audio"}, Reason.UNSUPPORTED_CONTENT),
        ({"type": "file"}, Reason.UNSUPPORTED_CONTENT),
        ({"type": 1}, Reason.UNSUPPORTED_CONTENT),
        (None, Reason.UNSUPPORTED_CONTENT),
    ],
)
def test_what_cannot_be_kept_ends_the_reading(block, reason):
    with pytest.raises(Unreadable) as caught:
        content_of([block])
    assert caught.value.reason == reason


def test_an_answer_of_texts_and_an_image_stays_in_parts():
    parts = [{"type": "text", "text": "a"}, IMAGE]
    assert text_of(parts) == parts


def test_values_without_escapes_are_not_copied():
    value = {"a": [{"b": "c"}]}
    assert unescape(value) is value


def test_only_the_escaped_branch_is_copied():
    value = {"a": {"__lc_escaped__": {"lc": 1}}, "b": ["x"]}
    plain = unescape(value)
    assert plain == {"a": {"lc": 1}, "b": ["x"]}
    assert plain["b"] is value["b"]
    assert "__lc_escaped__" in value["a"]
