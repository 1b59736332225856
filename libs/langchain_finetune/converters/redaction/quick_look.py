"""A quick look at the bytes of a row: nearly all rows hold no secret, and are told from those that may.

A pattern that is tried at each byte takes ten times as long as what `bytes` does in C: `translate`, `find`,
and the search for a pattern that begins with one literal byte. So the row is translated twice. *Folded*, its
letters are lower case, its digits are `0`, and `b`, `c`, `p` and `z` are `k`: then each name of a secret has
a `k` in it, and one pattern that begins with `k` finds them all; so does one literal all cards with gaps.
*In words*, a key that was issued is a long run of one byte, and is looked at only where such a run begins.
"""

import re
import string
from typing import Final

from langchain_finetune.converters.redaction.secret_forms import (
    CARD_BYTES,
    ISSUED,
    JWT_HEAD,
    LEAST_ISSUED,
    is_card,
)


def may_hold_secrets(row: bytes) -> bool:
    """Say whether JSON text holds something that `find_secrets` may find in its strings; False is certain.

    Args:
        row: JSON as `orjson.dumps` or `json.dumps` write it: a row, or any part of it that has whole strings.
    """
    folded = row.translate(_FOLD)
    if _CALLED.search(folded) or (b"@" in row and _LOGIN.search(row)) or (b"~" in row and b"8Q~" in row):
        return True
    words = row.translate(_IN_WORDS)
    start = words.find(_LONG)
    # With hyphens in its gaps, a card is a long word too.
    marks = _CARD_MARKS if start < 0 else (*_CARD_MARKS, _CARD_HYPHEN)
    return (any(mark in folded for mark in marks) and _has_card(row)) or (
        start >= 0 and _has_issued(row, words, start)
    )


# --- names, headers, webhooks, private keys: in what is folded ------------------------------------------


def _folding() -> bytes:
    table = bytearray(range(256))
    for upper, lower in zip(string.ascii_uppercase, string.ascii_lowercase, strict=True):
        table[ord(upper)] = ord(lower)
    for letters, folded in (("bcpzBCPZ", "k"), (string.digits, "0")):
        for letter in letters:
            table[ord(letter)] = ord(folded)
    return bytes(table)


_FOLD: Final = _folding()
_GAP: Final = rb"(?:[ \t\r\n]|\\[tnr]|\xc2\xa0|\\u00a0)"
_GAPS: Final = _GAP + rb"*"
_QUOTE: Final = rb"(?:\\*[\"'`])?"
_TOKEN: Final = rb"(?=[a-z+/_.=~-]*0)[a-z0+/_.=~-]{12}"
_ASSIGNED: Final = (
    rb"(?:[_-]?(?:akkess[_-]?)?key)?"
    + _QUOTE
    + _GAP
    + rb"*(?::=|=>|[=:]|is(?="
    + _GAP
    + rb"))"
    + _GAP
    + rb"*"
    # A value in quotes that is no stand-in, or a bare one that has what makes a word a secret.
    rb"(?:(?:\\*\"|')(?![\[{<$%*.\"])"
    rb"|(?![\[{<$%*.])[^\s\"'`,;(){}\[\]<>&\\]*?(?:[0!#@$%^*+?\x80-\xff]|\\u|[^\s\"'`,;(){}\[\]<>&\\]{20}))"
)
_NAMED_KEY: Final = b"|".join(
    rb"(?<=" + name + gap + rb"key)"
    for name in (b"aki", b"akkess", b"akkount", b"krivate")
    for gap in (b"", b"[_ -]")
)
_AUTHORIZATION: Final = (
    _QUOTE
    + _GAP
    + rb"*[:=]"
    + _GAP
    + rb"*"
    + _QUOTE
    + _GAP
    + rb"*(?:kearer|kasik|token|akikey)?"
    + _GAP
    + rb"+"
)
_CALLED: Final = re.compile(
    # Nearly all occurrences of the letter fail at the next one or two, which are tried in few branches.
    rb"k(?:e(?:n(?<=token)%(assigned)b"
    rb"|y(?:(?<=krivate key)(?: klokk)?-----|(?:%(named_key)b)%(assigned)b)"
    rb"|arer%(gap)b+%(token)b)"
    rb"|a(?:ss(?:khrase|word|wd)%(assigned)b|tion(?<=authorikation)%(authorization)b%(token)b)"
    rb"|re(?:t(?<=sekret)|dentials?)%(assigned)b"
    rb"|wd%(assigned)b"
    rb"|_(?<=whsek_))"
    % {
        b"assigned": _ASSIGNED,
        b"named_key": _NAMED_KEY,
        b"gap": _GAP,
        b"token": _TOKEN,
        b"authorization": _AUTHORIZATION,
    }
)
_LOGIN: Final = re.compile(rb":(?:\\?/){2}(?:[^\s/:@\"'<>\\]|\\u)*:(?:[^\s/@\"'<>\\]|\\u){3,}@")

# --- cards ----------------------------------------------------------------------------------------------

_CARD_MARKS: Final = (b"0" * 13, b"0000 0000")
_CARD_HYPHEN: Final = b"0000-0000"


def _has_card(row: bytes) -> bool:
    return any(is_card(match[0].decode()) for match in CARD_BYTES.finditer(row))


# --- issued keys: in words ------------------------------------------------------------------------------

_IN_WORDS: Final = bytes(
    ord("a") if re.match(rb"[A-Za-z0-9_-]", bytes([code])) else ord(" ") for code in range(256)
)
_LONG: Final = b"a" * LEAST_ISSUED
_FORM: Final = re.compile(
    # The word may begin with the letters of an escape, which are none of the key's.
    rb"(?:[bfnrt]|u[0-9a-fA-F]{4})?(?:" + "|".join((*ISSUED, JWT_HEAD)).encode() + rb")"
    rb"|(?<=SG\.)|(?<=ya29\.)|(?<=hv[sbr]\.)|(?<=[0-9]:)AA"
)
_FIRST: Final = frozenset(b"bfnrtuAGNPSdefghklnprstx")
_BEFORE: Final = frozenset(b".:")


def _has_issued(row: bytes, words: bytes, start: int) -> bool:
    while start >= 0:
        if (row[start] in _FIRST or row[start - 1] in _BEFORE) and _FORM.match(row, start):
            return True
        end = words.find(b" ", start)
        start = words.find(_LONG, end) if end >= 0 else -1
    return False
