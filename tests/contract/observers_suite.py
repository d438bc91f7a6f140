"""Tests for every observer. The test class of an observer inherits this and makes the observer."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from batchway.observers.base import Event, Observer


class ObserverSuite:
    """What every observer must do."""

    @pytest.fixture
    def observer(self) -> Observer:
        """The observer. The test class makes it."""
        raise NotImplementedError

    @pytest.mark.parametrize("event", Event)
    def test_every_event_is_accepted(self, observer: Observer, event: Event) -> None:
        """No event, with or without fields, ends the step or the process."""
        observer.observe(event, {})
        observer.observe(event, {"batch": "0fa66de115", "operations": 3, "seconds": 0.5})

    def test_several_threads_may_call_it_at_once(self, observer: Observer) -> None:
        """Several threads can call an observer at once."""
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda event: observer.observe(event, {}), [*Event] * 20))

        assert len(Event) * 20 == len(done)
