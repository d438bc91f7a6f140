"""How this process holds on to memory that it has freed."""

import ctypes

_M_ARENA_MAX = -8  # glibc's malloc.h


def use_one_heap() -> None:
    """Let all threads share one heap. To be called before there are any.

    The GNU C library gives each thread a heap of its own, and what was freed in one is not used in
    another: a worker whose chunks run in ever other threads would keep the peak of each. Where the
    C library is another one, nothing changes.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_ARENA_MAX, 1)
