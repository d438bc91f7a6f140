"""Checks that URLs of webhooks work, few at a time, because a check can hold a thread for long."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from batchway import limits
from batchway.contract.problems import invalid_field, too_many_requests
from batchway.kit.egress import Answered, Egress, check_url
from batchway.lifecycle.parts import Parts

_SUCCESS = range(200, 300)
_UNVERIFIED = "We couldn't verify the URL is working. Please double check and try again. {what}"


class WebhookUrlChecks:
    """Calls URLs, and limits the concurrent calls of this process."""

    def __init__(self, parts: Parts, egress: Egress) -> None:
        self._parts = parts
        self._egress = egress
        self._lock = Lock()
        self._under_way: list[int] = []  # accounts

    def check(self, account_id: int, url: str) -> None:
        """Send a GET to a URL. Raises a 400 unless it answers with 2xx, and a 429."""
        with self._hold_slot(account_id):
            answer = self._egress.send(
                "GET",
                url,
                headers=(),
                body=b"",
                seconds=self._parts.limits.delivery_seconds_max,
                answer_bytes_max=limits.delivery_answer_bytes_max,
            )
        if not isinstance(answer, Answered):
            raise invalid_field("url", _UNVERIFIED.format(what=answer.reason))
        if answer.status_code not in _SUCCESS:
            what = f"HTTP Code: {answer.status_code}"
            raise invalid_field("url", _UNVERIFIED.format(what=what))

    @contextmanager
    def _hold_slot(self, account_id: int) -> Iterator[None]:
        with self._lock:
            is_full = (
                len(self._under_way) >= limits.url_checks_at_once_max
                or self._under_way.count(account_id) >= limits.account_url_checks_at_once_max
            )
            if is_full:
                detail = "Too many URLs of webhooks are being checked. Please try again later."
                raise too_many_requests(detail)
            self._under_way.append(account_id)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.remove(account_id)


def check_form(url: str) -> None:
    """Raise a 400 if a text cannot be the URL of a webhook."""
    mistake = check_url(url)
    if mistake is not None:
        raise invalid_field("url", f"Invalid URL. {mistake}")
