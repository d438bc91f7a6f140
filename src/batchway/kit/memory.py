"""How this process uses memory: one heap for all threads, and fewer garbage collections."""

import ctypes
import gc

_M_ARENA_MAX = -8  # glibc's malloc.h


def use_one_heap() -> None:
    """Let all threads share one heap. Call this before any thread is started.

    The GNU C library gives each thread its own heap, and other threads cannot use the memory that
    a thread has freed. A worker runs its chunks in different threads, so each of their heaps would
    grow to the size of the largest chunk. Other C libraries do not have this option.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_ARENA_MAX, 1)


def tune_garbage_collector(new_objects: int) -> None:
    """Run the garbage collector only after so many new objects, and never on the present ones.

    Call this when everything is imported. Reading a large batch creates many objects but no
    cycles, and searching them for cycles takes longer than creating them.
    """
    freeze_objects()
    gc.set_threshold(new_objects, 50, 50)


def freeze_objects() -> None:
    """Exclude all present objects from later garbage collections.

    A collection writes to each object that it examines. Call this before a fork, so that the
    memory of these objects stays shared.
    """
    gc.collect()
    gc.freeze()
