"""Which of the hosts' error codes mean the same, when a job is created and when it fails: an open set.

OpenAI documents none of them; they are those that its users and the hosts of its protocol report.
"""

from typing import Final

UNKNOWN_MODEL: Final = frozenset({"model_not_found", "model_not_available"})
"""The host does not know the model, or cannot tune it."""

QUOTA: Final = frozenset(
    {
        "exceeded_quota",
        "insufficient_quota",
        "quota_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
    }
)
"""The account may not spend more."""

DAILY_LIMIT: Final = frozenset({"daily_rate_limit_exceeded"})
"""The account has created as many jobs as it may in a day."""

RATE_LIMIT: Final = frozenset({"rate_limit_exceeded", "too_many_requests", "concurrent_jobs_limit_exceeded"})
"""Too many requests, or too many jobs at once."""

CONTENT: Final = frozenset(
    {"unsafe_file", "content_policy_violation", "content_filter", "moderation_blocked", "moderation_checks"}
)
"""The host's rules on content."""

FILE: Final = frozenset(
    {
        "invalid_training_file",
        "invalid_validation_file",
        "invalid_file_format",
        "invalid_n_examples",
        "invalid_jsonl",
    }
)
"""The host takes the file for no training file."""
