"""`kill -9` of anything at any moment, while batches run.

The moments come from a seed, which a failure prints; BATCHWAY_FAULT_SEED repeats it, as far as
processes can be made to repeat themselves.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import psutil
import pytest

from batchway import limits
from tests.faults.batch_monitor import BatchMonitor, poll_batches
from tests.faults.workloads import GROUP_OPERATION_COUNT, MixedWorkload
from tests.scenario import Server, wait_until

LARGE_OPERATION_COUNT = 20_000
SMALL_OPERATION_COUNT = 300
SPARE_OPERATION_COUNT = 10_000
SECONDS_BETWEEN_BLOWS_MAX = 0.8  # less than a large batch runs
PAUSE_SECONDS = limits.lease_seconds + 2 * limits.sweep_seconds

ROUNDS = int(os.environ.get("BATCHWAY_FAULT_ROUNDS", "40"))


@dataclass
class Campaign:
    """Batches on one server, and the blows that it gets meanwhile."""

    server: Server
    chance: random.Random
    prepared: list[tuple[Server, MixedWorkload]] = field(default_factory=list)
    submitted: list[tuple[MixedWorkload, BatchMonitor]] = field(default_factory=list)

    def prepare(self, owner: Server, name: str, operation_count: int) -> None:
        """One more batch that can be submitted, of the account as which `owner` calls."""
        workload = MixedWorkload(owner.new_list(), name, operation_count // GROUP_OPERATION_COUNT)
        workload.prepare(owner)
        self.prepared.append((owner, workload))

    def submit(self) -> None:
        """Submit the next batch that is prepared."""
        owner, workload = self.prepared.pop(0)
        batch_id = owner.submit(workload.operations())
        self.submitted.append((workload, BatchMonitor(owner, batch_id)))

    def strike(self, blow: str) -> None:
        """One blow, after a while; if no batch runs that it could hit, the next one is begun."""
        if self.prepared and not self.is_running:
            wait_until(self.server.is_ready, "a worker could begin")
            self.submit()
        self._look(self.chance.uniform(0, SECONDS_BETWEEN_BLOWS_MAX))
        print("blow:", blow, "while batches run" if self.is_running else "when all is done")
        match blow:
            case "tree":
                self.server.kill()
                self.server.start()
            case "pause":
                self._pause()
            case "one worker":
                self._some_worker().kill()
            case _:
                self.server.kill_child(blow)

    def finish(self) -> None:
        """Wait for all batches; then each has done what it had to, exactly once."""
        for _, monitor in self.submitted:
            monitor.wait_until_finished()
        for workload, monitor in self.submitted:
            workload.check(monitor.server, monitor.batch_id)
        self.prepared, self.submitted = [], []

    @property
    def is_running(self) -> bool:
        """Whether some batch was not finished when last seen."""
        return any(monitor.is_running for _, monitor in self.submitted)

    def _look(self, seconds: float) -> None:
        poll_batches([monitor for _, monitor in self.submitted], seconds)

    def _pause(self) -> None:
        """A worker is away for longer than its lease, and comes back."""
        worker = self._some_worker()
        worker.suspend()
        self._look(PAUSE_SECONDS)
        worker.resume()

    def _some_worker(self) -> psutil.Process:
        """One that lives; all may just be starting again after the last blow."""
        workers = wait_until(
            lambda: self.server.find_children("worker"), "a worker is there to be hit"
        )
        return self.chance.choice(workers)


@pytest.fixture
def campaign(server: Server) -> Iterator[Campaign]:
    """A campaign against two workers, its moments chosen by chance."""
    seed = int(os.environ.get("BATCHWAY_FAULT_SEED") or random.getrandbits(32))
    print(f"repeat with: BATCHWAY_FAULT_SEED={seed}")
    server.workers = 2
    server.start().wait_until_ready()
    yield Campaign(server, random.Random(seed))
    print(server.read_log()[-8_000:])


def test_a_large_batch_survives_kills(campaign: Campaign) -> None:
    """Workers, the API and the whole tree die while 20,000 operations run."""
    campaign.prepare(campaign.server, "short", LARGE_OPERATION_COUNT)
    campaign.submit()
    campaign.server.kill_child("worker")
    assert campaign.is_running

    for blow in campaign.chance.sample(["one worker", "api", "tree"], k=3):
        campaign.strike(blow)

    campaign.finish()


@pytest.mark.long
def test_campaign(campaign: Campaign) -> None:
    """Round after round, with several batches of two accounts at once."""
    other = second_account(campaign.server)
    blows = ["worker", "one worker", "one worker", "one worker", "api", "api", "tree", "pause"]
    for number in range(ROUNDS):
        print("round", number)
        chosen = campaign.chance.choices(blows, k=campaign.chance.randint(2, 5))
        campaign.prepare(campaign.server, f"large-{number}", LARGE_OPERATION_COUNT)
        campaign.prepare(other, f"other-{number}", LARGE_OPERATION_COUNT)
        campaign.prepare(other, f"small-{number}", SMALL_OPERATION_COUNT)
        for spare, _ in enumerate(chosen):
            campaign.prepare(other, f"spare-{number}-{spare}", SPARE_OPERATION_COUNT)
        for _ in range(3):
            campaign.submit()
        for blow in chosen:
            campaign.strike(blow)
        campaign.finish()


def second_account(server: Server) -> Server:
    """The same server, called by another account."""
    printed = server.run_command("accounts", "create", "Second").stdout
    key = printed.split("API key", 1)[1].split()[0]
    return replace(server, key=key)
