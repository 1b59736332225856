"""The training stage: `FineTuneRunnable` and the jobs that it places, waits for and comes back to."""

from langchain_finetune.trainers.fine_tune import FineTuneRunnable
from langchain_finetune.trainers.job import FineTuneJob
from langchain_finetune.trainers.job_state import Checkpoint

__all__ = ["Checkpoint", "FineTuneJob", "FineTuneRunnable"]
