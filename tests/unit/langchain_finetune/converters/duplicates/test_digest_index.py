import hashlib

from hypothesis import given
from hypothesis import strategies as st

from langchain_finetune.converters.duplicates.digest_index import DigestIndex

# Few different ones, with the same low bits in the middle: they meet in the slots.
DIGESTS = st.integers(0, 40).map(lambda it: bytes(7) + bytes([it % 3]) + it.to_bytes(8))


@given(st.lists(DIGESTS, max_size=300))
def test_it_numbers_as_a_dict_would(digests):
    index, expected = DigestIndex(), {}
    for digest in digests:
        assert index.find(digest) == expected.get(digest)
        assert index.enter(digest) == expected.setdefault(digest, len(expected))
    assert [index[number] for number in range(len(index))] == list(expected)


def test_it_grows_and_forgets_nothing():
    digests = [hashlib.sha256(bytes([number % 256, number // 256])).digest() for number in range(5000)]
    index = DigestIndex(16)
    assert [index.enter(digest) for digest in digests] == list(range(5000))
    assert [index.find(digest) for digest in digests] == list(range(5000))
    assert index.find(bytes(16)) is None
    assert index[4999] == digests[4999][:16]
