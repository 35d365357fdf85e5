"""python -m fer_live.report: what a log says of a session, as one page."""
