"""What the server is told at its start, and where its things lie."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from finetune_server.ids import Kind, is_id
from finetune_server.logs import LogFormat, LogLevel

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused, each with an error of its own, before it can do harm."""

    max_file_bytes: int = 512 * MIB
    """OpenAI's own cap for one uploaded file."""
    max_body_bytes: int = 16 * MIB
    """Of every request but an upload."""
    max_row_bytes: int = 8 * MIB
    """One line of a training file, which is held in memory as a whole."""
    max_rows: int = 1_000_000
    max_pending_jobs: int = 100
    min_free_bytes: int = 64 * MIB
    """Disk that an upload or a new job must leave free."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long the server waits for its children, in seconds."""

    poll_seconds: float = 0.1
    """Between two looks at a trainer and its events."""
    checkpoint_grace_seconds: float = 30.0
    """For a trainer to write a checkpoint when the server goes down or its job is paused."""
    lock_wait_seconds: float = 60.0
    """For the trainer of a killed server to let go of its job."""
    retry_seconds: float = 5.0
    """Before a job is taken up again that the server's own disk has let down."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The server's configuration.

    Args:
        state_dir: The directory that the server owns.
        host: Where to listen.
        port: None takes the remembered port, or a free one.
        idle_minutes: How long to stay without a request or a job; 0 stays for ever.
        max_concurrent_jobs: How many jobs train at a time.
        trainer_command: The program that trains; the job's directory is its last argument.
        log_level: Of the server's own log.
        log_format: Of its entries.
        log_file: Where it goes, kept from growing; None is standard error.
    """

    state_dir: Path
    host: str = "127.0.0.1"
    port: int | None = None
    idle_minutes: float = 0.0
    max_concurrent_jobs: int = 1
    trainer_command: tuple[str, ...] = (sys.executable, "-m", "finetune_server.training")
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"
    log_file: Path | None = None
    limits: Limits = field(default_factory=Limits)
    timing: Timing = field(default_factory=Timing)

    @property
    def lock_file(self) -> Path:
        """Held with `flock` for the server's life: the proof of life."""
        return self.state_dir / "server.lock"

    @property
    def announcement_file(self) -> Path:
        """Says where the server listens, while it does."""
        return self.state_dir / "server.json"

    @property
    def key_file(self) -> Path:
        """The key of the owner's own processes, one line."""
        return self.state_dir / "api_key"

    @property
    def named_keys_file(self) -> Path:
        """The hashes of all other keys."""
        return self.state_dir / "keys.json"

    @property
    def port_file(self) -> Path:
        """The port first bound, taken again while it is free."""
        return self.state_dir / "port"

    @property
    def database_file(self) -> Path:
        """The store."""
        return self.state_dir / "server.sqlite"

    @property
    def inference_log_file(self) -> Path:
        """What the inference children write to their standard output and error."""
        return self.state_dir / "inference.log"

    @property
    def files_dir(self) -> Path:
        """Uploaded files and result files."""
        return self.state_dir / "files"

    @property
    def jobs_dir(self) -> Path:
        """One directory a job."""
        return self.state_dir / "jobs"

    @property
    def bases_dir(self) -> Path:
        """Converted base models."""
        return self.state_dir / "bases"

    @property
    def incoming_dir(self) -> Path:
        """Uploads on their way in; emptied at every start."""
        return self.state_dir / "incoming"

    def file_path(self, file_id: str) -> Path:
        """Where the bytes of a file lie."""
        return self.files_dir / _checked("file", file_id)

    def job_dir(self, job_id: str) -> Path:
        """Where a job and its trainer meet."""
        return self.jobs_dir / _checked("ftjob", job_id)

    def make_directories(self) -> None:
        """Creates what is missing, for the owner's eyes only."""
        for path in (self.state_dir, self.files_dir, self.jobs_dir, self.bases_dir, self.incoming_dir):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _checked(kind: Kind, name: str) -> str:
    if not is_id(kind, name):
        msg = f"not the form of a {kind} id; it cannot become a path"
        raise ValueError(msg)
    return name
