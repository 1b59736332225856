"""The `langchain-finetune` command, and the printer of progress: the only room that prints."""
