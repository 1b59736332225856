"""The training stage: `FineTuneRunnable` and the jobs that it places, waits for and comes back to."""

from langchain_finetune.trainers.fine_tune import FineTuneRunnable
from langchain_finetune.trainers.job import FineTuneJob
from langchain_finetune.trainers.job_list import JobEntry, JobList, ajob_list, ajob_named, job_list, job_named
from langchain_finetune.trainers.jobs.job_state import Checkpoint
from langchain_finetune.trainers.migration.inventory import Inventory, ainventory, inventory
from langchain_finetune.trainers.migration.migration import Migration
from langchain_finetune.trainers.named_model import achat_model, ahost_models, chat_model, host_models
from langchain_finetune.trainers.preflight.preflight import Preflight

__all__ = [
    "Checkpoint",
    "FineTuneJob",
    "FineTuneRunnable",
    "Inventory",
    "JobEntry",
    "JobList",
    "Migration",
    "Preflight",
    "achat_model",
    "ahost_models",
    "ainventory",
    "ajob_list",
    "ajob_named",
    "chat_model",
    "host_models",
    "inventory",
    "job_list",
    "job_named",
]
