"""What a secret looks like: keys by their issuers' prefixes, values by the names they are given, cards."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple


class Secret(NamedTuple):
    """A secret in a text."""

    start: int
    end: int
    kind: str
    """`api_key`, `token`, `password`, `private_key` or `card_number`."""
    text: str


# --- a quick look at the bytes of a whole row -----------------------------------------------------------

_NAMES: Final = (b"pass", b"pwd", b"credential", b"secret", b"token", b"key")
_ASSIGNED: Final = re.compile(
    # The rest of the name, quotes that close it, what assigns; then the beginning of a value, not of a JSON
    # object; or `is` and a word with a digit, or with quotes.
    rb"[a-z]{0,14}(?:[_ -]?key)?[\\\"'`]{0,6}\s{0,4}"
    rb"(?:(?:=>|:=|[=:])\s{0,4}[\\\"'`]{0,6}[^\s{\[,\\\"'`]|is\s+(?:[^\s]{0,60}[0-9]|[\\\"'`]))"
)
_LONG: Final = b"a" * 16
_WORD: Final = bytes(
    ord("a") if re.match(rb"[A-Za-z0-9_-]", bytes([code])) else ord(" ") for code in range(256)
)
_BEFORE: Final = 5
"""How far in front of a long word its issuer's mark may begin, as in `SG.` and `ya29.`."""
_PREFIX: Final = re.compile(
    rb"sk-|[prs]k_(?:live|test)_|whsec_|A(?:KIA|SIA|BIA|CCA)|gh[oprsu]_|github_pat_|gl[a-z]{2,5}-|AIza|GOCSPX-"
    rb"|xox[a-z]-|xapp-|lsv2_|hf_|npm_|pypi-|dapi|do[opr]_v1_|shp[a-z]{2}_|gsk_|xai-|r8_|pplx-|fw_|tvly-|pcsk_"
    rb"|nvapi-|lin_api_|ntn_|figd_|gl[a-z]{2}_|sbp_|NRAK-|PMAK-|sq0|key-|SK|AGE-|eyJ"
    rb"|SG\.|ya29\.|:AA|hv[sbr]\.|8Q~"
)
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_CARD_MARKS: Final = (b"0000000000000", b"0000 0000", b"0000-0000")


def may_hold_secrets(row: bytes) -> bool:
    """Say whether the JSON of a row needs a closer look; False is certain."""
    lowered = row.lower()
    if b"authorization" in lowered or b"bearer " in lowered or b"PRIVATE KEY" in row:
        return True
    if (b"://" in row and b"@" in row) or any(_is_assigned(lowered, name) for name in _NAMES):
        return True
    digits = row.translate(_DIGITS)
    if any(mark in digits for mark in _CARD_MARKS):
        return True
    return _has_issued(row)


def _has_issued(row: bytes) -> bool:
    words = row.translate(_WORD)
    start = words.find(_LONG)
    while start >= 0:
        end = words.find(b" ", start)
        if _PREFIX.search(row, max(0, start - _BEFORE), end if end >= 0 else len(row)):
            return True
        start = words.find(_LONG, end) if end >= 0 else -1
    return False


def _is_assigned(lowered: bytes, name: bytes) -> bool:
    at = lowered.find(name)
    while at >= 0:
        if _ASSIGNED.match(lowered, at):
            return True
        at = lowered.find(name, at + 1)
    return False


# --- keys that their issuers gave a form of their own ---------------------------------------------------

_HAS_DIGIT: Final = r"(?=[A-Za-z0-9_-]*[0-9])"
_ISSUED: Final = (
    # OpenAI, Anthropic, OpenRouter, DeepSeek, Langfuse and others that took the form over
    rf"sk-{_HAS_DIGIT}[A-Za-z0-9_-]{{16,}}",
    # Stripe and Clerk; webhooks
    r"[prs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    r"whsec_[A-Za-z0-9+/=]{16,}",
    # AWS
    r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    # GitHub, GitLab
    r"gh[oprsu]_[A-Za-z0-9]{36,}",
    r"github_pat_[A-Za-z0-9_]{22,}",
    r"gl(?:pat|dt|rt|ptt|cbt|oas|soat|ft|imt|agent)-[A-Za-z0-9_-]{20,}",
    # Google: API key, OAuth client, OAuth access
    r"AIza[A-Za-z0-9_-]{35}",
    r"GOCSPX-[A-Za-z0-9_-]{20,}",
    r"ya29\.[A-Za-z0-9_-]{20,}",
    # Slack
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"xapp-[0-9]-[A-Za-z0-9-]{10,}",
    # LangSmith, Hugging Face, npm, PyPI, Databricks, DigitalOcean, Shopify, SendGrid
    r"lsv2_(?:pt|sk)_[A-Za-z0-9_]{32,}",
    r"hf_[A-Za-z0-9]{30,}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[A-Za-z0-9_-]{50,}",
    r"dapi[0-9a-f]{32}",
    r"do[opr]_v1_[0-9a-f]{64}",
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    # Groq, xAI, Replicate, Perplexity, Fireworks, Tavily, Pinecone, NVIDIA
    rf"(?:gsk_|xai-|r8_|pplx-|fw_|tvly-|pcsk_|nvapi-){_HAS_DIGIT}[A-Za-z0-9_-]{{20,}}",
    # Linear, Notion, Figma, Grafana, Supabase, New Relic, Postman, Square, Mailgun
    rf"(?:lin_api_|ntn_|figd_|gl(?:sa|c)_|sbp_|NRAK-|PMAK-|sq0[a-z]{{3}}-){_HAS_DIGIT}[A-Za-z0-9_-]{{20,}}",
    r"key-[0-9a-f]{32}(?![A-Za-z0-9])",
    # Twilio, Telegram, Vault, Entra, age
    r"SK[0-9a-f]{32}(?![A-Za-z0-9])",
    r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])",
    r"hv[sbr]\.[A-Za-z0-9_-]{20,}",
    r"[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{31,34}",
    r"AGE-SECRET-KEY-1[0-9A-Z]{58}",
)
_ESCAPED: Final = r"(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})"
"""Where a text is JSON, what stands right before a word may be the end of an escape."""
_START: Final = rf"(?:(?<![A-Za-z0-9_-])|{_ESCAPED})"
_API_KEY: Final = re.compile(rf"{_START}(?:{'|'.join(_ISSUED)})")
_JWT: Final = re.compile(rf"{_START}eyJ[A-Za-z0-9_-]{{8,}}(?:\.[A-Za-z0-9_-]{{8,}}){{2,4}}")
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:[^\"-]|-(?!----))*"
    r"(?:-----END[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)?"
)

# --- values that are called a secret --------------------------------------------------------------------

_NAMED: Final = re.compile(
    r"(?P<name>passphrase|password|passwd|pwd|credentials?|secret|token"
    r"|(?:api|access|account|private)[_ -]?key)(?:[_-]?(?:access[_-]?)?key)?"
    # A JSON key's closing quote, escaped where the JSON stands in a string; then what assigns.
    r"(?:\\?[\"'`])?(?:\s*(?:=>|:=|[=:])\s*|\s+is\s+)"
    r"(?:\\?\"(?P<double>(?:[^\"\\\n]|\\[^\"\n]){4,256}?)\\?\""
    r"|'(?P<single>[^'\\\n]{4,256})'"
    r"|(?P<bare>[^\s\"'`,;(){}\[\]<>&\\]{6,256}))",
    re.IGNORECASE,
)
_HEADER: Final = re.compile(
    rf"{_START}(?:authorization\\?[\"']?\s*[:=]\s*\\?[\"']?\s*(?:bearer|basic|token|apikey)?|bearer)\s+"
    r"(?P<value>[A-Za-z0-9+/_.=~-]{12,})",
    re.IGNORECASE,
)
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>\\]{0,100}:(?P<value>[^\s/@\"'<>\\]{3,200})@")
_STAND_IN: Final = re.compile(
    r"[<\[{$%*.].*|x+|\*+|(?:your|my|the|a|an|some)[_ -].*|example.*|placeholder.*|redacted.*"
    r"|none|null|nil|true|false|string|str|required|optional|undefined|os\.environ.*|os\.getenv.*|process\.env.*|env\..*|getpass.*",
    re.IGNORECASE,
)
_LEAST_RANDOM: Final = 8
_LEAST_LONG: Final = 20


def _kind_of(name: str) -> str:
    name = name.lower()
    if name.startswith("pass") or name == "pwd":
        return "password"
    return "api_key" if name.endswith("key") else "token"


def _is_secret(value: str, kind: str, *, is_quoted: bool) -> bool:
    """Say whether a value is one, and no stand-in for it, no type and no prose."""
    if _STAND_IN.fullmatch(value):
        return False
    is_mixed = any(it.isdigit() for it in value) and not value.replace(".", "").replace("%", "").isdigit()
    if kind == "password":
        return (is_quoted and " " not in value) or is_mixed or any(it in "!#@$%^*+?" for it in value)
    return " " not in value and len(value) >= (_LEAST_RANDOM if is_mixed else _LEAST_LONG)


def _named(text: str) -> Iterator[Secret]:
    for match in _NAMED.finditer(text):
        group = match.lastgroup or "bare"
        value, kind = match[group], _kind_of(match["name"])
        if group == "bare":
            value = value.rstrip(".:!?") if kind != "password" else value.rstrip(".")
        if _is_secret(value, kind, is_quoted=group != "bare"):
            yield Secret(match.start(group), match.start(group) + len(value), kind, value)


# --- cards ----------------------------------------------------------------------------------------------

_CARD: Final = re.compile(
    rf"(?:(?<![\d.,-])|{_ESCAPED})[2-6]\d{{3}}"
    r"(?:(?P<gap>[ -])\d{4}(?P=gap)\d{4}(?P=gap)\d{4}|[ -]\d{6}[ -]\d{4,5}|\d{9,15})(?![\d-]|[.,]\d)"
)
_LENGTHS: Final = {"2": {16}, "3": {14, 15, 16}, "4": {13, 16, 19}, "5": {16}, "6": {16, 19}}


def _is_card(text: str) -> bool:
    digits = [int(it) for it in text if it.isdigit()]
    if len(digits) not in _LENGTHS[text[0]] or len(set(digits)) == 1:
        return False
    # Luhn's check: from the right, each second digit counts twice, its digits added up.
    doubled = [2 * it - 9 if it > 4 else 2 * it for it in digits[-2::-2]]  # noqa: PLR2004  # 2 * 5 has two digits
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0


# --- all of them ----------------------------------------------------------------------------------------


def _found(text: str) -> Iterator[Secret]:
    for kind, pattern in (("private_key", _PRIVATE_KEY), ("api_key", _API_KEY), ("token", _JWT)):
        for match in pattern.finditer(text):
            yield Secret(match.start(), match.end(), kind, match[0])
    for kind, pattern in (("token", _HEADER), ("password", _URL)):
        for match in pattern.finditer(text):
            if not _STAND_IN.fullmatch(match["value"]) and (
                kind == "password" or re.search(r"\d", match["value"])
            ):
                yield Secret(*match.span("value"), kind, match["value"])
    yield from _named(text)
    for match in _CARD.finditer(text):
        if _is_card(match[0]):
            yield Secret(match.start(), match.end(), "card_number", match[0])


def find_secrets(text: str) -> list[Secret]:
    """Return the secrets of a text, in order; of those that overlap, the one of the more certain form."""
    free = bytearray(len(text))
    kept = []
    for secret in _found(text):
        if not any(free[secret.start : secret.end]):
            free[secret.start : secret.end] = b"\1" * (secret.end - secret.start)
            kept.append(secret)
    return sorted(kept)
