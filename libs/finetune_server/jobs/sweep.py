"""What a server that was killed had no time to remove: inputs and checkpoints of jobs that have ended."""

import logging
import shutil
from pathlib import Path

from finetune_server.config import Settings
from finetune_server.ids import is_id
from finetune_server.jobs import job_files
from finetune_server.jobs.checkpoint_models import discard_other_epochs
from finetune_server.logs import fields
from finetune_server.storage.store import Store

_WORK = frozenset({job_files.TRAINING, job_files.VALIDATION, job_files.CHECKPOINTS})
_log = logging.getLogger(__name__)


def sweep(settings: Settings, store: Store) -> None:
    """Removes from the jobs' directories what no job needs any more; done once, before the first request."""
    for directory in settings.jobs_dir.iterdir():
        if not is_id("ftjob", directory.name):
            continue
        try:
            names = {path.name for path in directory.iterdir()}
            if names & _WORK:
                _sweep_job(directory, names, store)
        except OSError as error:
            _log.warning("job cannot be cleared up", extra=fields(job=directory.name, reason=error.strerror))


def _sweep_job(directory: Path, names: set[str], store: Store) -> None:
    job = store.jobs.get(directory.name)
    if job is None and names <= _WORK:
        # It was about to be created, and nobody was told of it.
        shutil.rmtree(directory, ignore_errors=True)
        _log.info("removed a directory whose job was never created", extra=fields(job=directory.name))
    elif job is not None and job.is_terminal:
        discard_other_epochs(directory, store.checkpoints(job.id))
        job_files.discard_work(directory)
