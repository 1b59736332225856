"""Another account's fine-tuned models: what there is, and how to train them anew somewhere else."""
