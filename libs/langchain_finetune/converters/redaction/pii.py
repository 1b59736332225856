"""Personal data: what Presidio's patterns and checksums recognize, and names where there is a spaCy model.

Nothing is asked of the network. Forms that a tenth of all numbers would pass (nine digits and a check digit)
are left out, and so is what Presidio is less sure of than `LEAST_SCORE`: run ids, prices, times and order
numbers are no phone numbers.
"""

import ipaddress
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from langchain_finetune.converters.redaction.secrets import Secret
from langchain_finetune.errors import MissingExtraError

LEAST_SCORE: Final = 0.5
"""Of Presidio's scores: a form of its own (0.5 and 0.6), or a checksum that is right (1.0)."""

DEFAULT_MODEL: Final = "en_core_web_sm"
"""spaCy's small English model: names and places are found with it where it is installed."""

_KINDS: Final = {
    "EMAIL_ADDRESS": "email",
    "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip_address",
    "MAC_ADDRESS": "mac_address",
    "CRYPTO": "crypto_wallet",
}
"""Of all other forms the kind is `national_id`."""
_NUMBERED: Final = (
    "UsSsnRecognizer",
    "UkNinoRecognizer",
    "EsNifRecognizer",
    "EsNieRecognizer",
    "ItFiscalCodeRecognizer",
    "PlPeselRecognizer",
    "SgFinRecognizer",
    "FiPersonalIdentityCodeRecognizer",
    "SePersonnummerRecognizer",
    "TrNationalIdRecognizer",
    "KrRrnRecognizer",
    "DeTaxIdRecognizer",
    "ZaIdNumberRecognizer",
    "IbanRecognizer",
    "CryptoRecognizer",
)
_LEAST_DIGITS: Final = 6
_LEAST_PHONE_DIGITS: Final = 7
_LABELS: Final = {
    "PERSON": "person",
    "PER": "person",
    "persName": "person",
    "GPE": "location",
    "LOC": "location",
    "FAC": "location",
    "placeName": "location",
}
"""What spaCy's models call names and places."""

_NOT_DIGITS: Final = bytes(set(range(256)) - set(b"0123456789"))
_ADDRESS: Final = re.compile(rb"[0-9A-Fa-f][:-][0-9A-Fa-f]{0,4}[:-]|::")
_CALLED_PHONE: Final = re.compile(
    r"(?:phone|mobile|whats ?app|cell|fax|tel)(?:[_ ]?(?:number|no|nr))?[\"'\\]*\.?"
    r"\s*(?:[:=]|is)?\s*[\"'\\]*(?P<number>\+?\d{8,15})(?![\w.-])",
    re.IGNORECASE,
)
_PHONE_SHAPE: Final = re.compile(r"(?<![\w.:,/#-])[+(]{0,2}\d(?:[ ()/.-]{0,3}\d){6,}")
_IDS_AND_TIMES: Final = re.compile(
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
    r"|\b(?:19|20)\d\d-[01]\d-[0-3]\d(?:[T ][012]\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:[+-]\d\d:?\d\d)?)?(?![\d-])"
)
"""Digits that make no text worth a search."""
_SEPARATOR: Final = re.compile(r"[ ()/.-]+")
_DATE: Final = re.compile(r"(?:19|20)\d\d[-./ ]\d\d?[-./ ]\d\d?|\d\d?[-./ ]\d\d?[-./ ](?:19|20)?\d\d")


class _Pattern(NamedTuple):
    recognizer: Any
    is_worth: Callable[[str], bool]
    """Whether a text has what the form cannot do without: a search takes longer than this."""


class PersonalData:
    """Finds personal data in texts.

    Args:
        model: A spaCy model for names and places, by its name or its path; None for `DEFAULT_MODEL` where
            it is installed, and a warning where it is not; `"none"` for no names, and no warning.

    Raises:
        MissingExtraError: The extra `pii` is not installed, or the model is not.
    """

    def __init__(self, model: str | None = None) -> None:
        self._patterns, self._phone = _patterns()
        self._names = None if model == "none" else _model(model)

    def may_hold(self, part: bytes) -> bool:
        """Say whether the JSON of a part of a row may hold what `find` finds; False is certain."""
        if self._names is not None or b"@" in part:
            return True
        num_digits = len(part.translate(None, _NOT_DIGITS))
        return num_digits >= 4 or _ADDRESS.search(part) is not None  # noqa: PLR2004  # `1.1.1.1`

    def find(self, text: str) -> list[Secret]:
        """Return what is personal in a text, in order; of what overlaps, the more certain."""
        free, found = bytearray(len(text)), []
        for it in self._found(text):
            if it.start < it.end and not any(free[it.start : it.end]):
                free[it.start : it.end] = b"\1" * (it.end - it.start)
                found.append(it)
        return sorted(found)

    def _found(self, text: str) -> Iterator[Secret]:
        rest = _IDS_AND_TIMES.sub(" ", text)
        for pattern in self._patterns:
            if pattern.is_worth(rest):
                yield from _results(pattern.recognizer, text)
        if _num_digits(rest) >= _LEAST_PHONE_DIGITS:
            yield from self._phones(text)
        if self._names is not None:
            for entity in self._names(text).ents:
                if kind := _LABELS.get(entity.label_):
                    yield Secret(entity.start_char, entity.end_char, kind, entity.text)

    def _phones(self, text: str) -> Iterator[Secret]:
        for match in _CALLED_PHONE.finditer(text):
            yield Secret(*match.span("number"), "phone", match["number"])
        # The search tries the forms of eight countries at each digit: it is asked only where one may be.
        for shape in _PHONE_SHAPE.finditer(text):
            if _SEPARATOR.search(shape[0]) or shape[0].startswith("+"):
                for it in self._phone.analyze(shape[0], self._phone.supported_entities, None):
                    start, end = shape.start() + it.start, shape.start() + it.end
                    if _is_phone(text, start, end):
                        yield Secret(start, end, "phone", text[start:end])


def _results(recognizer: Any, text: str) -> Iterator[Secret]:
    for it in recognizer.analyze(text, recognizer.supported_entities, None):
        value, kind = text[it.start : it.end], _KINDS.get(it.entity_type, "national_id")
        if it.score >= LEAST_SCORE and not (kind == "ip_address" and _is_nobodys(value)):
            yield Secret(it.start, it.end, kind, value)


def _is_nobodys(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return False
    return parsed.is_loopback or parsed.is_unspecified


def _num_digits(text: str) -> int:
    return sum(map(text.count, "0123456789"))


def _is_phone(text: str, start: int, end: int) -> bool:
    """Say whether digits are written as a phone number is, and are no part of an id, a date or a price."""
    number, before, after = text[start:end], text[max(0, start - 1) : start], text[end : end + 2]
    if before.isalnum() or before in {"-", "_", ".", ":", "/", "#", ","} or re.match(r"\w|[-_.:,/]\w", after):
        return False
    if number.startswith(("+", "(")) or before == "+":
        return True
    gaps = _SEPARATOR.findall(number)
    if not gaps or _DATE.fullmatch(number):
        return False
    return len(gaps) > 1 or (number.startswith("0") and gaps != ["."])


def _missing(what: str, line: str) -> MissingExtraError:
    msg = f'redact="pii" needs {what}: {line}, or pass redact="secrets".'
    return MissingExtraError(msg)


@cache
def _patterns() -> tuple[list[_Pattern], Any]:
    """Return the recognizers, loaded once: that takes seconds."""
    try:
        import presidio_analyzer.predefined_recognizers as known  # noqa: PLC0415  # the extra `pii`
        import tldextract  # noqa: PLC0415  # comes with it
    except ImportError as e:
        what, line = "presidio-analyzer", 'pip install "langchain-finetune[pii]"'
        raise _missing(what, line) from e
    # The list of suffixes that comes with the library: the default asks the network for a newer one.
    suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    email = known.EmailRecognizer()
    email.validate_result = lambda text: bool(suffixes(text.rpartition("@")[2]).suffix)
    patterns = [_Pattern(email, lambda text: "@" in text)]
    patterns += [
        _Pattern(getattr(known, name)(), lambda text: _num_digits(text) >= _LEAST_DIGITS)
        for name in _NUMBERED
    ]
    patterns += [
        _Pattern(known.IpRecognizer(), lambda text: text.count(".") > 2 or text.count(":") > 1),  # noqa: PLR2004
        _Pattern(
            known.MacAddressRecognizer(), lambda text: text.count(":") + text.count("-") + text.count(".") > 1
        ),
    ]
    return patterns, known.PhoneRecognizer()


@cache
def _model(name: str | None) -> Any:
    """Return a spaCy model, loaded once; None where the default one is not installed."""
    import spacy  # noqa: PLC0415  # comes with the extra `pii`

    wanted = name or DEFAULT_MODEL
    if spacy.util.is_package(wanted) or Path(wanted).exists():
        return spacy.load(wanted)
    major, minor, *_ = version("spacy").split(".")
    wheel = f"{wanted}-{major}.{minor}.0"
    host = "https://github.com/explosion/spacy-models/releases/download"
    line = f"pip install {host}/{wheel}/{wheel}-py3-none-any.whl"
    if name is not None:
        what = f"the spaCy model {name}"
        raise _missing(what, line)
    warnings.warn(
        f'redact="pii": names of persons and places are not found, as the spaCy model {wanted} is not '
        f'installed: {line}. For another language give pii_model="de_core_news_sm", say; pii_model="none" '
        "says that names may stay.",
        UserWarning,
        stacklevel=2,
    )
    return None
