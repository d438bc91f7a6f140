"""How processes use DBOS: its tables and queues, and the configuration of a worker."""

from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer

from batchway import limits
from batchway.engine.lanes import LANES
from batchway.store.database import Database

_APPLICATION = "batchway"
# Changes only with a workflow that cannot continue what an older version began.
VERSION = "1"
WORKFLOW = "step"  # the one workflow: its arguments name the step


def prepare_engine(database: Database) -> None:
    """Make or update the engine's own tables. May be called any number of times."""
    DBOS.migrate(database.url)
    client = open_client(database)
    for lane in set(LANES.values()):
        client.register_queue(
            lane.name,
            worker_concurrency=lane.concurrency,
            polling_interval_sec=limits.idle_poll_seconds,
        )
    client.destroy()


def open_client(database: Database) -> DBOSClient:
    """What writes hand-overs, in a process that need not run steps."""
    return DBOSClient(
        system_database_engine=database.engine,
        serializer=DBOSPortableJSONSerializer(),
        application_name=_APPLICATION,
        lazy=True,
    )


def make_worker_config(database: Database, executor_id: str) -> DBOSConfig:
    """How a worker joins; `executor_id` is the name of its lease."""
    return DBOSConfig(
        name=_APPLICATION,
        application_version=VERSION,
        executor_id=executor_id,
        system_database_engine=database.engine,
        serializer=DBOSPortableJSONSerializer(),
        run_migrations=False,  # they were run by `prepare`
        log_level="ERROR",
    )
