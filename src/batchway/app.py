"""Wires everything. The only module that names concrete targets and archives."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import make_url
from starlette.applications import Starlette

from batchway.audience.lists.deletion import purge_deleted_lists
from batchway.audience.routes import make_route_table
from batchway.audience.settings import AudienceSettings
from batchway.contract.result_links import ResultLinks
from batchway.contract.version import API_PREFIX
from batchway.database_setup import check_tables, open_archive, open_database
from batchway.engine import books
from batchway.engine.hand_overs import HandOvers
from batchway.engine.worker import RunSteps, Worker
from batchway.errors import SettingsError
from batchway.formats.base import Format
from batchway.formats.file_per_operation import FilePerOperation
from batchway.formats.one_document import OneDocument
from batchway.installation import join_installation
from batchway.kit.clock import Clock, system_clock
from batchway.kit.egress import Egress
from batchway.kit.ids import new_process_name
from batchway.kit.sealing import Sealer
from batchway.kit.signing import Signer
from batchway.lifecycle.deliver import DeliverStep
from batchway.lifecycle.idle_claims import release_idle_claims
from batchway.lifecycle.parts import Parts
from batchway.lifecycle.steps import make_batch_steps
from batchway.lifecycle.sweep import sweep
from batchway.model.batch import BUILTIN_TARGET
from batchway.model.step import Step
from batchway.observers.base import Observers
from batchway.observers.faults import FaultObserver
from batchway.observers.log import LogObserver
from batchway.settable_limits import replace_limits
from batchway.settings import Settings
from batchway.store.database import Database
from batchway.surfaces.base import Surface
from batchway.surfaces.concurrency_limit import ConcurrencyLimit
from batchway.surfaces.documentation import Documentation
from batchway.surfaces.health import Health
from batchway.surfaces.mailchimp.authentication import ApiKeyAuthenticator
from batchway.surfaces.mailchimp.endpoint import MailchimpEndpoint
from batchway.surfaces.mailchimp.refusals import render_refusal
from batchway.surfaces.mailchimp.routes import make_routes
from batchway.surfaces.mailchimp.webhook_event import MailchimpEvents
from batchway.surfaces.result_downloads import ResultDownloads
from batchway.surfaces.server import make_asgi_app
from batchway.targets.builtin import BuiltinTarget
from batchway.targets.table import ROOT, Mount, TargetTable


@dataclass(frozen=True)
class App:
    """One process's view of a server: the API or a worker is made from it."""

    settings: Settings
    database: Database
    hand_overs: HandOvers
    parts: Parts

    def asgi(self) -> Starlette:
        """The HTTP surface. Raises OtherInstallation as a worker does."""
        self._join_installation()
        parts = self.parts
        result_links = self._result_links()
        routes = make_routes(parts, result_links, self._egress(), self._sealer())
        surface = Surface(
            prefix=API_PREFIX,
            authenticator=ApiKeyAuthenticator(self.database),
            targets=parts.targets,
            limits=parts.limits,
            public_url=self.settings.public_url,
        )
        connections = ConcurrencyLimit(parts.limits.requests_per_key_max, "requests of an API key")
        calls = MailchimpEndpoint(
            surface,
            routes,
            parts.clock,
            connections,
            ConcurrencyLimit(parts.limits.event_streams_per_key_max, "event streams of an API key"),
        )
        results = ResultDownloads(
            parts,
            result_links,
            ConcurrencyLimit(parts.limits.downloads_per_key_max, "downloads of one API key"),
        )
        documentation = Documentation(
            [("Audience", make_route_table()), ("Batches", routes)], self.settings.public_url
        )
        return make_asgi_app([calls], results, Health(self.database), documentation)

    def worker(self) -> Worker:
        """The worker of this process, not started yet."""
        return Worker(self.parts.worker, self.database, self.hand_overs, self._steps())

    def start(self, worker: Worker) -> None:
        """Let a worker take work, and take its turn as caretaker.

        Raises OtherInstallation if its archives or its secret key are not those of the others.
        """
        self._join_installation()
        worker.start(partial(release_idle_claims, self.parts), self._sweep)

    def _sweep(self) -> None:
        sweep(self.parts, partial(books.find_lost, self.parts.clock))
        purge_deleted_lists(self.parts.database)
        books.delete_old(self.parts.clock)

    def _steps(self) -> dict[Step, RunSteps]:
        parts = self.parts
        events = MailchimpEvents(self._result_links(), self.settings.base_url)
        deliver = DeliverStep(parts, self._egress(), self._sealer(), events)
        return {**make_batch_steps(parts), Step.DELIVER: deliver.run}

    def _join_installation(self) -> None:
        join_installation(self.database, self.parts.archive, self.settings.get_secret_keys())

    def _result_links(self) -> ResultLinks:
        signer = Signer(self.settings.get_secret_keys())
        parts = self.parts
        return ResultLinks(signer, parts.archive, parts.clock, parts.limits.result_link_seconds)

    def _sealer(self) -> Sealer:
        return Sealer(self.settings.get_secret_keys())

    def _egress(self) -> Egress:
        return Egress(self.settings.egress_allow)

    def close(self) -> None:
        """Close the database."""
        self.hand_overs.close()
        self.database.close()


def open_app(
    settings: Settings,
    clock: Clock | None = None,
    more_targets: Sequence[Mount] = (),
    process: str | None = None,
) -> App:
    """Open the database of an existing installation; raises SchemaError if it is not migrated.

    `more_targets` answer paths of their own, beside the built-in audience at `/`. `process` is the
    name under which this process claims steps; by default it gets a new one. With a `clock`, the
    time of this app is that clock's alone.
    """
    _check_data_folder(settings)
    database = open_database(settings, clock)
    check_tables(database)
    worker = process or new_process_name("worker")
    hand_overs = HandOvers(database, worker)
    audience = BuiltinTarget(database, AudienceSettings(settings.refuse_fake_addresses))
    parts = Parts(
        database=database,
        archive=open_archive(settings),
        targets=TargetTable([Mount(ROOT, BUILTIN_TARGET, audience), *more_targets]),
        clock=clock or system_clock,
        hand_over=hand_overs,
        worker=worker,
        formats=_make_formats(),
        format_name=settings.result_files,
        limits=replace_limits(settings.limits),
        render_refusal=render_refusal,
        observe=_make_observers(),
    )
    return App(settings, database, hand_overs, parts)


def _make_observers() -> Observers:
    """The log and, if a test has asked for a fault, what causes it."""
    faults = FaultObserver.from_environment(os.environ)
    return Observers([LogObserver(), *([faults] if faults else [])])


def _make_formats() -> dict[str, Format]:
    """The results formats by the values of the setting `result_files`."""
    file_per_operation = FilePerOperation()
    return {
        "per-operation": file_per_operation,
        "per-batch": OneDocument(file_per_operation),
    }


def _check_data_folder(settings: Settings) -> None:
    """Looking into a folder must not make a database in it."""
    path = make_url(settings.database_in_use).database
    if settings.is_embedded and path and not Path(path).exists():
        message = (
            f"There is no database at {path}. Name the data folder of your server with --data-dir, "
            "or begin one with: batchway serve"
        )
        raise SettingsError(message)


@contextmanager
def opened(settings: Settings) -> Iterator[App]:
    """An app that is closed at the end of the block."""
    app = open_app(settings)
    try:
        yield app
    finally:
        app.close()
