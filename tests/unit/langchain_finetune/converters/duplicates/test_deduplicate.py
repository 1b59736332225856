from langchain_finetune.converters.duplicates.deduplicate import Duplicates, digest


def test_the_order_of_keys_makes_no_difference():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_the_first_row_of_a_content_stands_for_all():
    duplicates = Duplicates()
    assert [duplicates.first_of(digest(row), index) for index, row in enumerate("abaca")] == [0, 1, 0, 3, 0]
