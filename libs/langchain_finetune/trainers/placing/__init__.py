"""An order becomes one job: looked up, uploaded, created, reconciled, cleared away."""
