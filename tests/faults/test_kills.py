"""`kill -9` of processes at random times while batches run.

The times come from a seed, which a failure prints. BATCHWAY_FAULT_SEED repeats it, as far as
processes can be made to repeat.
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
SECONDS_BETWEEN_FAULTS_MAX = 0.8  # less than a large batch runs
PAUSE_SECONDS = limits.lease_seconds + 2 * limits.sweep_seconds

ROUNDS = int(os.environ.get("BATCHWAY_FAULT_ROUNDS", "40"))


@dataclass
class Campaign:
    """Batches on one server, and the kills that happen while they run."""

    server: Server
    chance: random.Random
    prepared: list[tuple[Server, MixedWorkload]] = field(default_factory=list)
    submitted: list[tuple[MixedWorkload, BatchMonitor]] = field(default_factory=list)

    def prepare(self, owner: Server, name: str, operation_count: int) -> None:
        """Prepare one more batch, of the account that `owner` calls with."""
        workload = MixedWorkload(owner.new_list(), name, operation_count // GROUP_OPERATION_COUNT)
        workload.prepare(owner)
        self.prepared.append((owner, workload))

    def submit(self) -> None:
        """Submit the next prepared batch."""
        owner, workload = self.prepared.pop(0)
        batch_id = owner.submit(workload.operations())
        self.submitted.append((workload, BatchMonitor(owner, batch_id)))

    def inject_fault(self, fault: str) -> None:
        """Kill or pause processes after a random wait, while at least one batch runs."""
        if self.prepared and not self.is_running:
            wait_until(self.server.is_ready, "a worker could begin")
            self.submit()
        self._poll(self.chance.uniform(0, SECONDS_BETWEEN_FAULTS_MAX))
        print("fault:", fault, "while batches run" if self.is_running else "when all is done")
        match fault:
            case "tree":
                self.server.kill()
                self.server.start()
            case "pause":
                self._pause()
            case "one worker":
                self._choose_worker().kill()
            case _:
                self.server.kill_child(fault)

    def finish(self) -> None:
        """Wait for all batches, and check that each took effect exactly once."""
        for _, monitor in self.submitted:
            monitor.wait_until_finished()
        for workload, monitor in self.submitted:
            workload.check(monitor.server, monitor.batch_id)
        self.prepared, self.submitted = [], []

    @property
    def is_running(self) -> bool:
        """Whether a batch was not finished in its last reply."""
        return any(monitor.is_running for _, monitor in self.submitted)

    def _poll(self, seconds: float) -> None:
        poll_batches([monitor for _, monitor in self.submitted], seconds)

    def _pause(self) -> None:
        """Pause a worker for longer than its lease."""
        worker = self._choose_worker()
        worker.suspend()
        self._poll(PAUSE_SECONDS)
        worker.resume()

    def _choose_worker(self) -> psutil.Process:
        """Return a live worker. All of them may be restarting."""
        workers = wait_until(
            lambda: self.server.find_children("worker"), "a worker is there to be hit"
        )
        return self.chance.choice(workers)


@pytest.fixture
def campaign(server: Server) -> Iterator[Campaign]:
    """A campaign against two workers with random times."""
    seed = int(os.environ.get("BATCHWAY_FAULT_SEED") or random.getrandbits(32))
    print(f"repeat with: BATCHWAY_FAULT_SEED={seed}")
    server.workers = 2
    server.start().wait_until_ready()
    yield Campaign(server, random.Random(seed))
    print(server.read_log()[-8_000:])


def test_a_large_batch_survives_kills(campaign: Campaign) -> None:
    """A batch of 20,000 operations survives kills of workers, the API and the whole tree."""
    campaign.prepare(campaign.server, "short", LARGE_OPERATION_COUNT)
    campaign.submit()
    campaign.server.kill_child("worker")
    assert campaign.is_running

    for fault in campaign.chance.sample(["one worker", "api", "tree"], k=3):
        campaign.inject_fault(fault)

    campaign.finish()


@pytest.mark.long
def test_campaign(campaign: Campaign) -> None:
    """Batches of two accounts survive round after round of kills and pauses."""
    other = second_account(campaign.server)
    faults = ["worker", "one worker", "one worker", "one worker", "api", "api", "tree", "pause"]
    for number in range(ROUNDS):
        print("round", number)
        chosen = campaign.chance.choices(faults, k=campaign.chance.randint(2, 5))
        campaign.prepare(campaign.server, f"large-{number}", LARGE_OPERATION_COUNT)
        campaign.prepare(other, f"other-{number}", LARGE_OPERATION_COUNT)
        campaign.prepare(other, f"small-{number}", SMALL_OPERATION_COUNT)
        for spare, _ in enumerate(chosen):
            campaign.prepare(other, f"spare-{number}-{spare}", SPARE_OPERATION_COUNT)
        for _ in range(3):
            campaign.submit()
        for fault in chosen:
            campaign.inject_fault(fault)
        campaign.finish()


def second_account(server: Server) -> Server:
    """Return the same server with the key of another account."""
    printed = server.run_command("accounts", "create", "Second").stdout
    key = printed.split("API key", 1)[1].split()[0]
    return replace(server, key=key)
