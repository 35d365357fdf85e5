"""Covers faces before anything is drawn, shown, recorded or sent."""
