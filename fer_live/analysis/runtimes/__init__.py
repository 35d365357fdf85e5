"""Inference runtimes: one module per runtime."""
