"""Networks on their runtimes: one small module for each way to compute."""
