"""The server's commands: serve, keys, clean; `langchain-finetune` passes its own on to them."""
