import pytest

from finetune_server.keys import KeyCheck, load_or_make_key


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "api_key"
    key = load_or_make_key(path)
    assert key.startswith("sk-local-")
    assert len(key) > 40
    assert load_or_make_key(path) == key
    assert path.read_text() == key + "\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["api_key"]


def test_an_empty_key_file_gets_a_key(tmp_path):
    path = tmp_path / "api_key"
    path.write_text("\n")
    assert load_or_make_key(path).startswith("sk-local-")


@pytest.mark.parametrize(
    ("header", "is_right"),
    [
        ("Bearer sk-1", True),
        ("bearer sk-1", True),
        ("Bearer  sk-1 ", True),
        ("Bearer sk-2", False),
        ("Bearer sk-", False),
        ("Bearer", False),
        ("Basic sk-1", False),
        ("sk-1", False),
        ("", False),
        ("Bearer é", False),
    ],
)
def test_only_the_key_as_a_bearer_token_opens(header, is_right):
    assert KeyCheck("sk-1").accepts(header) is is_right


def test_the_check_does_not_hold_the_key():
    assert "sk-1" not in repr(vars(KeyCheck("sk-1")))
