"""The life of a job: admitted, validated, queued, trained by a process of its own, ended."""
