"""Keep large buffers instead of handing them back to the kernel after every operation."""

import ctypes
import sys

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def keep_large_buffers() -> bool:
    """Tell glibc to serve large blocks from the heap and to keep freed ones; False where there is no glibc.

    A training step makes and frees blocks of tens of megabytes. By default each is mapped anew and the kernel clears
    every page of it, which takes longer than the arithmetic: a step of 5 x 320 x 320 goes from 280 to 210 ms.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
