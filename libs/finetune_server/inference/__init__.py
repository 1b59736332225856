"""Answering: one child process per base model, with its adapters, spoken to over loopback HTTP."""
