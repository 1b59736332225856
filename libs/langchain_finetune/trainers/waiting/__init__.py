"""A job is waited for: the looks, their pace, what is told of them, and how the job ended."""
