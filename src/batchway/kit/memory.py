"""How this process frees memory, and holds on to what it has freed."""

import ctypes
import gc

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


def calm_collector(new_objects: int) -> None:
    """Look for garbage in cycles once there are so many new objects, and never in what is there.

    To be called when everything is imported. Reading a large batch makes many objects and no
    cycles; to look for some among all of the process's objects takes longer than to make them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(new_objects, 50, 50)
