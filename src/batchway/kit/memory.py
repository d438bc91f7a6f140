"""How this process uses memory: one heap for all threads, and fewer garbage collections."""

import ctypes
import gc

_M_ARENA_MAX = -8  # glibc's malloc.h


def use_one_heap() -> None:
    """Let all threads share one heap. Call this before any thread is started.

    The GNU C library gives each thread a heap of its own, and memory that one thread has freed is
    not used by another. A worker runs its chunks in changing threads, and would keep the peak of
    each. Other C libraries do not have this option; there, nothing changes.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_ARENA_MAX, 1)


def calm_collector(new_objects: int) -> None:
    """Collect garbage only after so many new objects, and never among the present ones.

    Call this when everything is imported. Reading a large batch creates many objects and no
    cycles; searching all objects of the process for cycles takes longer than creating them.
    """
    freeze_objects()
    gc.set_threshold(new_objects, 50, 50)


def freeze_objects() -> None:
    """Leave all present objects out of every later collection.

    Before a fork it keeps shared memory shared: a collection writes into each object it looks at.
    """
    gc.collect()
    gc.freeze()
