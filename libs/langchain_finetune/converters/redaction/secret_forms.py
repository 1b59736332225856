"""The forms of secrets, as patterns: keys as their issuers write them, values by the names they are given."""

import re
from typing import Final

# --- keys that their issuers gave a form of their own ---------------------------------------------------

_HAS_DIGIT: Final = r"(?=[A-Za-z0-9_-]*[0-9])"

LEAST_ISSUED: Final = 19
"""Letters, digits, `_` and `-` in a row that each form in `ISSUED`, and a token's head, has at least."""

ISSUED: Final = (
    # OpenAI, Anthropic, OpenRouter, DeepSeek, Langfuse and others that took the form over
    rf"sk-{_HAS_DIGIT}[A-Za-z0-9_-]{{16,}}",
    # Stripe and Clerk
    r"[prs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    # AWS
    r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    # GitHub, GitLab
    r"gh[oprsu]_[A-Za-z0-9]{36,}",
    r"github_pat_[A-Za-z0-9_]{22,}",
    r"gl(?:pat|dt|rt|ptt|cbt|oas|soat|ft|imt|agent)-[A-Za-z0-9_-]{20,}",
    # Google: API key, OAuth client
    r"AIza[A-Za-z0-9_-]{35}",
    r"GOCSPX-[A-Za-z0-9_-]{20,}",
    # Slack
    r"xox[abeoprs]-[A-Za-z0-9-]{14,}",
    r"xapp-[0-9]-[A-Za-z0-9-]{12,}",
    # LangSmith, Hugging Face, npm, PyPI, Databricks, DigitalOcean, Shopify
    r"lsv2_(?:pt|sk)_[A-Za-z0-9_]{32,}",
    r"hf_[A-Za-z0-9]{30,}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[A-Za-z0-9_-]{50,}",
    r"dapi[0-9a-f]{32}",
    r"do[opr]_v1_[0-9a-f]{64}",
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    # Groq, xAI, Replicate, Perplexity, Fireworks, Tavily, Pinecone, NVIDIA
    rf"(?:gsk_|xai-|r8_|pplx-|fw_|tvly-|pcsk_|nvapi-){_HAS_DIGIT}[A-Za-z0-9_-]{{20,}}",
    # Linear, Notion, Figma, Grafana, Supabase, New Relic, Postman, Square, Mailgun
    rf"(?:lin_api_|ntn_|figd_|gl(?:sa|c)_|sbp_|NRAK-|PMAK-|sq0[a-z]{{3}}-){_HAS_DIGIT}[A-Za-z0-9_-]{{20,}}",
    r"key-[0-9a-f]{32}(?![A-Za-z0-9])",
    # Twilio, age
    r"SK[0-9a-f]{32}(?![A-Za-z0-9])",
    r"AGE-SECRET-KEY-1[0-9A-Z]{58}",
)
"""Forms that are one word of letters, digits, `_` and `-` from their first character on."""

ISSUED_IN_PARTS: Final = (
    # Webhooks; Google: OAuth access; SendGrid; Telegram, Vault, Entra
    r"whsec_[A-Za-z0-9+/=]{16,}",
    r"ya29\.[A-Za-z0-9_-]{20,}",
    r"SG\.[A-Za-z0-9_-]{19,}\.[A-Za-z0-9_-]{16,}",
    r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])",
    r"hv[sbr]\.[A-Za-z0-9_-]{20,}",
    r"[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{31,34}",
)
"""Forms with other characters in between."""

JWT_HEAD: Final = r"eyJ[A-Za-z0-9_-]{16,}"
"""`{"` in base64, and the shortest head that a JSON Web Token can have: `{"alg":"none"}`."""

_ESCAPED: Final = r"(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})"
"""Where a text is JSON, what stands right before a word may be the end of an escape."""
_START: Final = rf"(?:(?<![A-Za-z0-9_-])|{_ESCAPED})"

API_KEY: Final = re.compile(rf"{_START}(?:{'|'.join((*ISSUED, *ISSUED_IN_PARTS))})")
JSON_WEB_TOKEN: Final = re.compile(rf"{_START}{JWT_HEAD}(?:\.[A-Za-z0-9_-]{{8,}}){{2,4}}")
PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:[^\"-]|-(?!----))*"
    r"(?:-----END[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)?"
)

# --- values that are called a secret --------------------------------------------------------------------

_GAP: Final = "[ \t\r\n\u00a0]"
NAMED: Final = re.compile(
    r"(?P<name>passphrase|password|passwd|pwd|credentials?|secret|token"
    r"|(?:api|access|account|private)[_ -]?key)(?:[_-]?(?:access[_-]?)?key)?"
    # A JSON key's closing quote, escaped where the JSON stands in a string; then what assigns.
    rf"(?:\\?[\"'`])?(?:{_GAP}*(?:=>|:=|[=:]){_GAP}*|{_GAP}+is{_GAP}+)"
    r"(?:\\?\"(?P<double>(?:[^\"\\\n]|\\[^\"\n]){4,256}?)\\?\""
    r"|'(?P<single>[^'\\\n]{4,256})'"
    r"|(?P<bare>[^\s\u00a0\"'`,;(){}\[\]<>&\\]{6,256}))",
    re.IGNORECASE | re.ASCII,
)
HEADER: Final = re.compile(
    rf"{_START}(?:authorization\\?[\"']?{_GAP}*[:=]{_GAP}*\\?[\"']?{_GAP}*(?:bearer|basic|token|apikey)?|bearer)"
    rf"{_GAP}+(?P<value>[A-Za-z0-9+/_.=~-]{{12,}})",
    re.IGNORECASE | re.ASCII,
)
LOGIN: Final = re.compile(
    r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>\\]{0,100}:(?P<value>[^\s/@\"'<>\\]{3,200})@"
)
STAND_IN: Final = re.compile(
    r"[<\[{$%*.].*|x+|\*+|(?:your|my|the|a|an|some)[_ -].*|example.*|placeholder.*|redacted.*"
    r"|none|null|nil|true|false|string|str|required|optional|undefined|os\.environ.*|os\.getenv.*|process\.env.*|env\..*|getpass.*",
    re.IGNORECASE,
)

# --- cards ----------------------------------------------------------------------------------------------

_CARD_DIGITS: Final = (
    r"[2-6][0-9]{3}(?:(?P<gap>[ -])(?:[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{4}|[0-9]{6}(?P=gap)[0-9]{4,5})"
    r"|[0-9]{9,15})"
)
CARD: Final = re.compile(rf"(?:(?<![\d.,-])|{_ESCAPED}){_CARD_DIGITS}(?![\d-]|[.,]\d)")
CARD_BYTES: Final = re.compile(_CARD_DIGITS.encode())
_LENGTHS: Final = {"2": {16}, "3": {14, 15, 16}, "4": {13, 16, 19}, "5": {16}, "6": {16, 19}}


def is_card(text: str) -> bool:
    """Say whether digits, with or without gaps, are the number of a card: length, issuer and Luhn's check."""
    digits = [int(it) for it in text if it.isdigit()]
    if len(digits) not in _LENGTHS[text[0]] or len(set(digits)) == 1:
        return False
    # Luhn's check: from the right, each second digit counts twice, its digits added up.
    doubled = [2 * it - 9 if it > 4 else 2 * it for it in digits[-2::-2]]  # noqa: PLR2004  # 2 * 5 has two digits
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0
