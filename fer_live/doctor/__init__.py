"""python -m fer_live.doctor: what is missing here, and what to do about it. Imports nothing but Python's own library."""
