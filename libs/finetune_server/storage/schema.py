"""The store's tables, as the list of steps that lead to them.

A step, once released, is never edited: whoever changes the schema appends one. The file's `user_version`
counts the steps it has been through.
"""

_FIRST = """
CREATE TABLE files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    filename TEXT NOT NULL,
    purpose TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
);
CREATE INDEX files_expiring ON files (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    base TEXT NOT NULL,
    training_file TEXT NOT NULL,
    validation_file TEXT,
    method TEXT NOT NULL,
    hyperparameters TEXT NOT NULL,
    seed INTEGER NOT NULL,
    suffix TEXT,
    metadata TEXT,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    estimated_finish INTEGER,
    trained_tokens INTEGER,
    fine_tuned_model TEXT,
    result_files TEXT NOT NULL DEFAULT '[]',
    error TEXT,
    attempt INTEGER NOT NULL DEFAULT 0,
    num_deaths INTEGER NOT NULL DEFAULT 0,
    checkpoint_step INTEGER NOT NULL DEFAULT 0,
    events_offset INTEGER NOT NULL DEFAULT 0,
    idempotency_key TEXT UNIQUE,
    request_sha256 TEXT
);
CREATE INDEX jobs_unfinished ON jobs (status, seq) WHERE status NOT IN ('succeeded', 'failed', 'cancelled');

CREATE TABLE job_metadata (
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    PRIMARY KEY (key, value, job_id)
) WITHOUT ROWID;

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    level TEXT NOT NULL,
    type TEXT NOT NULL,
    message TEXT NOT NULL,
    data TEXT NOT NULL,
    step INTEGER
);
CREATE INDEX events_of_job ON events (job_id, seq);
-- A trainer that resumes from a checkpoint repeats steps that its predecessor had already reported.
CREATE UNIQUE INDEX events_step ON events (job_id, step) WHERE step IS NOT NULL;

CREATE TABLE models (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    base TEXT NOT NULL,
    adapter_dir TEXT NOT NULL,
    adapter_gguf TEXT,
    job_id TEXT NOT NULL REFERENCES jobs (id),
    created_at INTEGER NOT NULL
);

CREATE TABLE bases (
    id TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL,
    max_model_len INTEGER NOT NULL,
    weights_sha256 TEXT NOT NULL
);
"""

_CHECKPOINTS = """
-- The training step of a checkpoint, and what was measured then; NULL for the model a job ends with.
ALTER TABLE models ADD COLUMN step INTEGER;
ALTER TABLE models ADD COLUMN metrics TEXT;
CREATE INDEX models_of_job ON models (job_id, step);
"""

MIGRATIONS: tuple[str, ...] = (_FIRST, _CHECKPOINTS)
