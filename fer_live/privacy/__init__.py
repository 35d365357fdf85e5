"""Masks faces before an image is drawn on, shown, recorded or sent."""
