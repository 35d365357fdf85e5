"""The command-line app: options, runs, keys and outputs. The only package that may import all others."""
