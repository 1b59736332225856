import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_server.ids import derived_id, is_id, is_tuned_name, new_id, suffix_slug, tuned_name


def test_a_new_id_has_its_kind_and_24_hexadecimal_digits():
    made = new_id("file")
    assert is_id("file", made)
    assert made != new_id("file")
    assert not is_id("ftjob", made)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file-",
        "../api_key",
        "file-../../../../etc/passwd00",
        "file-" + "0" * 24 + "\n",
        "file-" + "G" * 24,
    ],
)
def test_what_is_no_id_is_none(text):
    assert not is_id("file", text)


@given(st.text())
def test_an_id_has_nothing_in_it_that_a_path_gives_a_meaning(text):
    assert not is_id("file", text + "/..")


def test_an_id_that_is_derived_is_the_same_for_the_same_parts():
    assert derived_id("file", "a", "b") == derived_id("file", "a", "b") != derived_id("file", "a", "c")
    assert is_id("file", derived_id("file", "a"))


def test_a_tuned_name_tells_base_and_suffix():
    name = tuned_name("base", "my suffix", "ftjob-1")
    assert name == tuned_name("base", "my suffix", "ftjob-1")
    assert is_tuned_name(name)
    assert not is_tuned_name("base")
    ft, base, owner, suffix, code = name.split(":")
    assert (ft, base, owner, suffix, len(code)) == ("ft", "base", "local", "my-suffix", 8)
    assert code.isalnum()
    assert tuned_name("base", None, "ftjob-1") == f"ft:base:local::{code}"
    assert tuned_name("base", None, "ftjob-2") != tuned_name("base", None, "ftjob-1")


@pytest.mark.parametrize(
    ("suffix", "slug"),
    [("a:b/c", "a-b-c"), ("v1.2_x", "v1.2_x"), ("déjà vu!", "d-j-vu"), ("日本", ""), (None, "")],
)
def test_a_suffix_cannot_break_the_name_it_stands_in(suffix, slug):
    assert suffix_slug(suffix) == slug
