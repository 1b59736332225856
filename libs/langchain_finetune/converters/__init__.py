"""Recorded sessions in, rows that a trainer accepts out: pure steps behind one thin Runnable."""

from langchain_finetune.converters.training_data import TrainingDataConverter

__all__ = ["TrainingDataConverter"]
