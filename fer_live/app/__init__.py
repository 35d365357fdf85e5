"""The program: options, what a run is made of, keys and outputs. The only package that knows all others."""
