"""Refusals as hosts send them, and what each has to become."""

from langchain_finetune.errors import (
    AccessDeniedError,
    ContentPolicyError,
    DailyLimitError,
    HostError,
    HostUnavailableError,
    QuotaExceededError,
    RateLimitedError,
    TrainingFileRefusedError,
    UnknownBaseError,
)

PER_DAY = (
    "This fine-tune request has been rate-limited. Your organization has reached the maximum of 8 "
    "fine-tuning requests per day for the model 'gpt-4.1-2025-04-14'."
)
EXPLORE = "Fine-tuning jobs cannot be created on an Explore plan. You can upgrade to a paid plan."
NO_JSONL = "Expected file to have JSONL format, where every line is a valid JSON dictionary."

REFUSALS = [
    (429, "insufficient_quota", "You exceeded your current quota", QuotaExceededError, False),
    (400, "exceeded_quota", "over", QuotaExceededError, False),
    (400, "billing_hard_limit_reached", "over", QuotaExceededError, False),
    (400, None, "This job exceeded hard limit of your organization", QuotaExceededError, False),
    (403, None, EXPLORE, QuotaExceededError, False),
    (402, None, "pay", QuotaExceededError, False),
    (429, "daily_rate_limit_exceeded", PER_DAY, DailyLimitError, True),
    (429, None, PER_DAY, DailyLimitError, True),
    (429, "rate_limit_exceeded", "maximum of 3 active requests", RateLimitedError, True),
    (400, "rate_limit_exceeded", "maximum of 3 active requests", RateLimitedError, True),
    (429, None, "slow down", RateLimitedError, True),
    (400, "unsafe_file", "blocked", ContentPolicyError, False),
    (400, "content_policy_violation", "no", ContentPolicyError, False),
    (400, "invalid_training_file", "no", TrainingFileRefusedError, False),
    (400, "invalid_file_format", "no", TrainingFileRefusedError, False),
    (400, None, NO_JSONL, TrainingFileRefusedError, False),
    (403, None, "missing scope", AccessDeniedError, False),
    (409, None, "conflict", HostUnavailableError, True),
    (408, None, "slow", HostUnavailableError, True),
    (500, None, "oops", HostUnavailableError, True),
    (501, None, "no such call", HostError, False),
    (400, None, "Model x is not available for fine-tuning or does not exist", UnknownBaseError, False),
]
"""Status, code, message, class, and whether the same call may succeed later."""
