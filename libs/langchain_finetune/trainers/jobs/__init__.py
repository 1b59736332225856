"""Orders and jobs as plain data: the key, the state, checkpoints, figures."""
