"""Training, in a process of its own: `python -m finetune_server.training JOBDIR`.

What to train (`examples`, `collator`, `supervised`) is kept apart from where it runs (`__main__`, `device`).
This is one of the two rooms that import torch.
"""
