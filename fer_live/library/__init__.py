"""`fer_live.load()` and its results: pictures, streams and videos in, named values out."""
