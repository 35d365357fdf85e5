"""How fast it is here: `python -m fer_live.bench` measures the program on this machine, without a camera, network or data.

Every measurement goes through the program's own parts; none of them knows that it is measured.
"""
