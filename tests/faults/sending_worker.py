"""A worker process with the scripted target: `python -m tests.faults.sending_worker HISTORY`.

The target writes what it sends to the file HISTORY. The settings come from the environment.
"""

import signal
import sys
import threading
from pathlib import Path

from batchway.app import open_app
from batchway.settings import load_settings
from tests.scripted_target import ScriptedTarget


def main(history: Path) -> None:
    """Run a worker until SIGTERM."""
    stop_requested = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop_requested.set())
    app = open_app(load_settings(), more_targets=[ScriptedTarget(history=history).mount])
    worker = app.worker()
    app.start(worker)
    stop_requested.wait()
    worker.stop()
    app.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
