"""`python -m fer_live.bench` benchmarks the program on this machine, without a camera, network or data.

All measurements use the program's own code, which has no special path for them.
"""
