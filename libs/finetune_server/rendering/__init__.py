"""The one renderer: conversations to text, and text back to tool calls. No torch, no transformers."""
