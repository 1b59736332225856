"""Did it help? The base against the tuned model on rows that were held out of training."""

from langchain_finetune.evaluators.model_comparison import ModelComparison
from langchain_finetune.evaluators.report import ComparisonReport

__all__ = ["ComparisonReport", "ModelComparison"]
