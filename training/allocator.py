"""Keeps freed memory in the process while the CPU trains, instead of giving it back and asking for it again."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT = 2**31 - 1  # bytes, the most that mallopt takes
OLD_KEPT = 2**25  # bytes, the most that glibc's older versions take for the second


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep what is freed; whether it could be told. Elsewhere (macOS, Windows, musl) nothing is done.

    By default malloc maps every large block anew and unmaps it when it is freed, and the kernel fills each page with zeros
    at its first touch. A training step frees and takes the same hundred blocks of some megabytes each: without this, a third
    of the time went there (mallopt(3); the figures are in RESULTS.md).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function; Windows cannot even open None
        return False
    from_heap = mallopt(M_MMAP_THRESHOLD, KEPT) or mallopt(M_MMAP_THRESHOLD, OLD_KEPT)
    return bool(mallopt(M_TRIM_THRESHOLD, KEPT) and from_heap)
