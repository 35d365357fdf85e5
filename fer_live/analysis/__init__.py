"""Frame -> Analysis: find the faces, follow them, name their expressions. Usable without the app."""
