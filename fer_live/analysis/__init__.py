"""Frame -> Analysis: face detection, tracking and expression classification. Usable without the app."""
