"""Did it help? The base against the tuned model on rows that were held out of training."""

from langchain_finetune.evaluators.metrics import (
    DEFAULT_METRICS,
    METRICS,
    ChrF,
    Exact,
    ExactText,
    Example,
    Judge,
    Latency,
    Metric,
    NormalizedText,
    Price,
    RefusalAgreement,
    Tokens,
    ToolCallMatch,
    Validity,
)
from langchain_finetune.evaluators.model_comparison import ModelComparison
from langchain_finetune.evaluators.promotion_gate import PromotionGate
from langchain_finetune.evaluators.report import ComparisonReport, Decision
from langchain_finetune.evaluators.tool_calls import Answer, ToolCall

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "Answer",
    "ChrF",
    "ComparisonReport",
    "Decision",
    "Exact",
    "ExactText",
    "Example",
    "Judge",
    "Latency",
    "Metric",
    "ModelComparison",
    "NormalizedText",
    "Price",
    "PromotionGate",
    "RefusalAgreement",
    "Tokens",
    "ToolCall",
    "ToolCallMatch",
    "Validity",
]
