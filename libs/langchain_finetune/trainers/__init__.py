"""The training stage: `FineTuneRunnable` and the jobs that it places, waits for and comes back to."""

from langchain_finetune.trainers.fine_tune import FineTuneRunnable
from langchain_finetune.trainers.job import FineTuneJob
from langchain_finetune.trainers.jobs.job_state import Checkpoint
from langchain_finetune.trainers.migration.inventory import Inventory, ainventory, inventory
from langchain_finetune.trainers.migration.migration import Migration
from langchain_finetune.trainers.preflight.preflight import Preflight

__all__ = [
    "Checkpoint",
    "FineTuneJob",
    "FineTuneRunnable",
    "Inventory",
    "Migration",
    "Preflight",
    "ainventory",
    "inventory",
]
