"""A demo of Batchway's main use: a thousand contacts in one request.

It starts a server, creates a list, imports `contacts.csv` as one batch with the code of
`batchway import`, shows the results, and stops the server. The data folder `batchway-demo` in the
current folder is kept, so that you can continue from there. Each run creates a new list in it.

    make demo
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from types import FrameType
from typing import NoReturn

import httpx

from batchway.cli.connection import Connection
from batchway.cli.import_csv import Import, ImportReport, import_contacts
from batchway.cli.lists import AudienceList, NewList, create_list
from batchway.cli.terminal import (
    OUT,
    CommandError,
    print_error,
    print_note,
    print_text,
    tolerate_narrow_encodings,
)
from batchway.errors import BatchwayError
from batchway.kit.ids import new_api_key

DATA_DIR = Path("batchway-demo")
KEY_FILE = DATA_DIR / "demo-api-key"
LOG_FILE = DATA_DIR / "demo-server.log"
CONTACTS = Path(__file__).parent / "contacts.csv"
HOST = "127.0.0.1"

READY_SECONDS_MAX = 60.0
READY_POLL_SECONDS = 0.05
HEALTH_SECONDS = 2.0
STOP_SECONDS_MAX = 30.0
LOG_LINES_SHOWN = 20


@dataclass(frozen=True)
class Server:
    """A server that this demo has started."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    log_begins: int

    @property
    def is_ready(self) -> bool:
        """Whether the API and its worker are ready."""
        try:
            answer = httpx.get(f"{self.url}/healthz", timeout=HEALTH_SECONDS, trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    def log_tail(self) -> str:
        """The last lines that this server wrote."""
        with self.log.open("rb") as file:
            file.seek(self.log_begins)
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES_SHOWN:])


def main() -> None:
    """Run the demo; exits with 0 if it succeeded. The server is stopped in any case."""
    signal.signal(signal.SIGTERM, _handle_sigterm)
    tolerate_narrow_encodings()
    try:
        run()
    except BatchwayError as error:
        print_error(error)
        print_text(f"The server's log is {LOG_FILE}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def run() -> None:
    """The demo, step by step."""
    key = load_key()
    with running_server(key) as server, Connection(server.url, key) as connection:
        made = create_list(connection, NewList.named(f"Demo of {datetime.now(UTC):%F %T}"))
        print_text(f"A new list: {made.id} “{made.name}”, with the API key {key}")
        mapping = DATA_DIR / f"web_ids-{made.id}.csv"
        imported = import_contacts(connection, Import(_shorten_path(CONTACTS), made.id, mapping))
        check(imported)
    print_next_steps(made, imported, key)


def load_key() -> str:
    """The demo's API key: the first run makes it, later runs use it again."""
    DATA_DIR.mkdir(mode=0o700, exist_ok=True)
    key = KEY_FILE.read_text().strip() if KEY_FILE.exists() else ""
    if not key:
        key = new_api_key()
        KEY_FILE.touch(mode=0o600)
        KEY_FILE.write_text(key)
    return key


@contextmanager
def running_server(key: str) -> Iterator[Server]:
    """A server on a free port that is ready; it is stopped at the end in any case."""
    server = start_server(key)
    try:
        wait_until_ready(server)
        yield server
    finally:
        stop_server(server)


def start_server(key: str) -> Server:
    """Start `batchway serve`. The key is a variable: other users can see a command line."""
    port = find_free_port()
    command = [sys.executable, "-m", "batchway", "serve"]
    options = ["--host", HOST, "--port", str(port), "--data-dir", str(DATA_DIR)]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("BATCHWAY_")
    }
    with LOG_FILE.open("ab") as log:
        log_begins = log.tell()
        process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment, "BATCHWAY_API_KEY": key},
            start_new_session=True,  # so that Ctrl-C reaches the demo, which stops the server
        )
        return Server(process, f"http://{HOST}:{port}", LOG_FILE, log_begins)


def find_free_port() -> int:
    """A port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(server: Server) -> None:
    """Wait until the server is ready; raises CommandError with its log if it is not in time."""
    began = monotonic()
    with OUT.status("Starting the server …"):
        while not server.is_ready:
            if server.process.poll() is not None:
                message = f"The server ended with code {server.process.returncode} while starting."
                raise CommandError(message, f"Its log ends:\n{server.log_tail()}")
            if monotonic() - began > READY_SECONDS_MAX:
                message = f"The server was not ready within {READY_SECONDS_MAX:.0f} seconds."
                raise CommandError(message, f"Its log ends:\n{server.log_tail()}")
            sleep(READY_POLL_SECONDS)
    print_text(f"A server is ready at {server.url} after {monotonic() - began:.1f} s.")


def stop_server(server: Server) -> None:
    """Stop the server, unless it has ended already."""
    if server.process.poll() is not None:
        return
    server.process.terminate()
    try:
        code = server.process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        print_note(f"The server was killed after {STOP_SECONDS_MAX:.0f} s. Its log is {server.log}")
        return
    if code not in {0, -signal.SIGTERM}:  # the signal itself, if it was hardly started
        print_note(f"The server ended with code {code}; its log is {server.log}")


def check(imported: ImportReport) -> None:
    """Fail unless contacts were added."""
    if not imported.tally.succeeded_count:
        message = "No contact was added."
        raise CommandError(message, "See the failures above.")


def print_next_steps(made: AudienceList, imported: ImportReport, key: str) -> None:
    """Print commands to continue with."""
    command = _shorten_path(Path(sys.executable).with_name("batchway"))
    print_text("\nContinue from here. Start the server again, with the same data:", "bold")
    print_text(f"  {command} serve --data-dir {DATA_DIR}")
    print_text("In another terminal:", "bold")
    print_text(f"  export BATCHWAY_URL=http://{HOST}:8080 BATCHWAY_API_KEY={key}")
    print_text(f"  export BATCHWAY_LIST_ID={made.id}")
    print_text(f"  {command} batches results {imported.batch.id}")
    print_text(
        f"  {_shorten_path(CONTACTS.with_name('curl.sh'))}    # calls of the Mailchimp guide"
    )
    print_text('  curl --user "anystring:$BATCHWAY_API_KEY" "$BATCHWAY_URL/3.0/batches"')
    print_text('  curl --user "anystring:$BATCHWAY_API_KEY" \\')
    print_text('    "$BATCHWAY_URL/3.0/lists/$BATCHWAY_LIST_ID/members?count=1"')
    print_text(f"Everything is in the data folder {DATA_DIR}; delete it to start again.")


def _shorten_path(path: Path) -> Path:
    """The path relative to the current folder, if it is in there."""
    try:
        return path.absolute().relative_to(Path.cwd())
    except ValueError:
        return path


def _handle_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End like Ctrl-C does, so that the server is stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
