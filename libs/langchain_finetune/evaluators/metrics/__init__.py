"""What an answer is measured by: one small file for each kind of metric."""

from langchain_finetune.evaluators.metrics.chrf import ChrF
from langchain_finetune.evaluators.metrics.exact import Exact
from langchain_finetune.evaluators.metrics.example import Example
from langchain_finetune.evaluators.metrics.judge import Judge
from langchain_finetune.evaluators.metrics.metric import Metric, Score
from langchain_finetune.evaluators.metrics.named import DEFAULT_METRICS, METRICS, read_metrics
from langchain_finetune.evaluators.metrics.price import Price
from langchain_finetune.evaluators.metrics.refusal import RefusalAgreement
from langchain_finetune.evaluators.metrics.text import ExactText, NormalizedText
from langchain_finetune.evaluators.metrics.tool_call_match import ToolCallMatch
from langchain_finetune.evaluators.metrics.usage import Latency, Tokens
from langchain_finetune.evaluators.metrics.validity import Validity

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "ChrF",
    "Exact",
    "ExactText",
    "Example",
    "Judge",
    "Latency",
    "Metric",
    "NormalizedText",
    "Price",
    "RefusalAgreement",
    "Score",
    "Tokens",
    "ToolCallMatch",
    "Validity",
    "read_metrics",
]
