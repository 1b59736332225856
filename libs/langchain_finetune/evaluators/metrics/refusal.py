"""Whether a model refuses where the recorded one did, and nowhere else."""

import re
from dataclasses import dataclass
from typing import Final

from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.metrics.metric import Metric
from langchain_finetune.evaluators.tool_calls import Answer

_REFUSES: Final = re.compile(
    r"\W*(?:(?:i'?m|i am|we are|we're)\s+(?:very |really |so )?(?:sorry|afraid)"
    r"|sorry\b|apologies\b|i apologi[sz]e"
    r"|(?:unfortunately,?\s+)?(?:i|we)\s+(?:can(?:'?t|not| not)|could(?:n'?t| not)|won'?t|will not"
    r"|am unable|are unable|'m unable|am not able|must decline|have to decline)"
    r"|(?:i'?m|as an ai\b[^.]{0,60}?i'?m?)\s+(?:unable|not able))",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class RefusalAgreement(Metric):
    """1 where answer and record both refuse, or neither does.

    An answer with a call is no refusal; the host's `refusal` field is one; a text is one that begins as
    English refusals do. Tuned models that learned a tone may refuse too much: this shows it.
    """

    name: str = "refusal"

    def score(self, example: Example, answer: Answer) -> bool:
        """Return whether both refuse or neither does."""
        return is_refusal(example.expected) == is_refusal(answer)


def is_refusal(answer: Answer) -> bool:
    """Tell whether an answer is a refusal."""
    if answer.calls:
        return False
    return bool(answer.refusal) or _REFUSES.match(answer.text.replace("\u2019", "'")) is not None
