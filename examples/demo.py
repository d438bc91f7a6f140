"""Batchway's main job, for a person to watch: a thousand contacts in one request.

Starts a server of its own, makes a list, imports `contacts.csv` as one batch with the code of
`batchway import`, shows the results, and stops the server. The data folder `batchway-demo` in the
current folder stays, so that one can go on from there; each run makes a new list in it.

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
from batchway.cli.import_csv import Import, Imported, import_contacts
from batchway.cli.lists import AudienceList, NewList, create_list
from batchway.cli.terminal import OUT, CommandError, fail, say, tolerate_narrow_encodings, warn
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
        """Whether the API and its worker are."""
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
    """Run the demo; exits with 0 if it went well, and stops its server in any case."""
    signal.signal(signal.SIGTERM, _end)
    tolerate_narrow_encodings()
    try:
        run()
    except BatchwayError as error:
        fail(error)
        say(f"The server's log is {LOG_FILE}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def run() -> None:
    """The demo, step by step."""
    key = kept_key()
    with running_server(key) as server, Connection(server.url, key) as connection:
        made = create_list(connection, NewList.named(f"Demo of {datetime.now(UTC):%F %T}"))
        say(f"A new list: {made.id} “{made.name}”, with the API key {key}")
        mapping = DATA_DIR / f"web_ids-{made.id}.csv"
        imported = import_contacts(connection, Import(_short(CONTACTS), made.id, mapping))
        check(imported)
    how_to_go_on(made, imported, key)


def kept_key() -> str:
    """The demo's API key: made by the first run, the same for every later one."""
    DATA_DIR.mkdir(mode=0o700, exist_ok=True)
    key = KEY_FILE.read_text().strip() if KEY_FILE.exists() else ""
    if not key:
        key = new_api_key()
        KEY_FILE.touch(mode=0o600)
        KEY_FILE.write_text(key)
    return key


@contextmanager
def running_server(key: str) -> Iterator[Server]:
    """A server on a free port, ready; stopped at the end, whatever happens."""
    server = start_server(key)
    try:
        wait_until_ready(server)
        yield server
    finally:
        stop_server(server)


def start_server(key: str) -> Server:
    """Start `batchway serve`. The key goes by the environment: others can see a command line."""
    port = free_port()
    command = [sys.executable, "-m", "batchway", "serve"]
    options = ["--host", HOST, "--port", str(port), "--data-dir", str(DATA_DIR)]
    foreign = {name for name in os.environ if name.startswith("BATCHWAY_")}
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
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


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(server: Server) -> None:
    """Wait for the server's health check; fails with its log if it ends or takes too long."""
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
    say(f"A server is ready at {server.url} after {monotonic() - began:.1f} s.")


def stop_server(server: Server) -> None:
    """Ask the server to stop, and make sure that it does. One that has ended is let be."""
    if server.process.poll() is not None:
        return
    server.process.terminate()
    try:
        code = server.process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        warn(f"The server did not stop in {STOP_SECONDS_MAX:.0f} s and was killed: {server.log}")
        return
    if code not in {0, -signal.SIGTERM}:  # by the signal itself, if it had hardly begun
        warn(f"The server ended with code {code}; its log is {server.log}")


def check(imported: Imported) -> None:
    """Fail unless contacts were added."""
    if not imported.tally.succeeded_count:
        message = "No contact was added."
        raise CommandError(message, "The failures above say why.")


def how_to_go_on(made: AudienceList, imported: Imported, key: str) -> None:
    """Print what one can type next."""
    command = _short(Path(sys.executable).with_name("batchway"))
    say("\nGo on from here. The server, with everything above:", "bold")
    say(f"  {command} serve --data-dir {DATA_DIR}")
    say("and in another terminal:", "bold")
    say(f"  export BATCHWAY_URL=http://{HOST}:8080 BATCHWAY_API_KEY={key}")
    say(f"  export BATCHWAY_LIST_ID={made.id}")
    say(f"  {command} batches results {imported.batch.id}")
    say(f"  {_short(CONTACTS.with_name('curl.sh'))}    # the guide's own calls")
    say('  curl --user "anystring:$BATCHWAY_API_KEY" "$BATCHWAY_URL/3.0/batches"')
    say('  curl --user "anystring:$BATCHWAY_API_KEY" \\')
    say('    "$BATCHWAY_URL/3.0/lists/$BATCHWAY_LIST_ID/members?count=1"')
    say(f"Everything is in the data folder {DATA_DIR}; delete it to begin anew.")


def _short(path: Path) -> Path:
    """The path as one would type it here."""
    try:
        return path.absolute().relative_to(Path.cwd())
    except ValueError:
        return path


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End as by Ctrl-C, so that the server is stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
