"""The process that runs the steps of batches: under `serve`, or alone as `batchway worker`."""

import signal
import threading

from batchway.app import open_app
from batchway.kit.memory import tune_garbage_collector
from batchway.settings import Settings

_NEW_OBJECTS = 100_000  # before the collector looks; it took a third of a chunk's time


def run_worker(settings: Settings, name: str | None = None) -> None:
    """Run steps until SIGTERM or SIGINT; then finish the current one and give the others back.

    `name` is that of the worker's lease; by default it gets a new one.
    """
    stop_requested = _catch_stop_signals()
    tune_garbage_collector(_NEW_OBJECTS)
    app = open_app(settings, process=name)
    worker = app.worker()
    app.start(worker)
    stop_requested.wait()
    worker.stop()
    app.close()


def _catch_stop_signals() -> threading.Event:
    stop_requested = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop_requested.set())
    return stop_requested
