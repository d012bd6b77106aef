"""Keep large blocks of memory in the process.

glibc returns every freed block above a threshold to the system and page-faults it in again on the next
allocation; the activations of a network are all above it. On the CPU this costs more time than most layers
compute. `keep_large_blocks` raises the thresholds for the running process. The command line does so; the
library does not, because the process is its caller's, who may call this too.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4

KEEP = 2**31 - 1
"""The largest int, which is what mallopt takes."""


@functools.cache
def keep_large_blocks() -> bool:
    """Make glibc serve large blocks from the heap and keep them; once per process.

    Returns:
        Whether it was done: only on Linux with glibc, and not when STYLELOOM_MALLOC=default is set.
    """
    if sys.platform != "linux" or os.environ.get("STYLELOOM_MALLOC") == "default":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    # M_MMAP_MAX 0 rather than the threshold alone: older glibc bounds the threshold at 32 MiB.
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: KEEP, M_TOP_PAD: 64 << 20}
    done = [mallopt(name, value) for name, value in settings.items()]
    return all(done)
