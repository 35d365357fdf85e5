"""Keeps freed memory in the process during CPU training."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
THRESHOLD = 2**31 - 1  # bytes, the maximum of mallopt
OLD_THRESHOLD = 2**25  # bytes, the maximum of M_MMAP_THRESHOLD in older versions of glibc


def keep_freed_memory() -> bool:
    """Make glibc's malloc keep freed memory. Return whether it did. No effect with other C libraries (macOS, Windows, musl).

    By default, malloc maps each large block again and unmaps it when it is freed, and the kernel zeroes every new page. A
    training step frees and allocates the same hundred blocks of several megabytes. Without this setting, that took a third of
    the time (see mallopt(3); measured in RESULTS.md).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; on Windows CDLL(None) fails
        return False
    from_heap = mallopt(M_MMAP_THRESHOLD, THRESHOLD) or mallopt(M_MMAP_THRESHOLD, OLD_THRESHOLD)
    return bool(mallopt(M_TRIM_THRESHOLD, THRESHOLD) and from_heap)
