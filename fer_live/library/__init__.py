"""`fer_live.load()` and its results: the high-level API for images, streams and videos."""
