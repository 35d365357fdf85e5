"""python -m fer_live.report: summarizes a log as one HTML page."""
