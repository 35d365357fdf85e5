"""Sinks: recordings, sound and logs."""
