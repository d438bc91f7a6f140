"""The rules that hold for the operations of every target."""

import pytest

from batchway import limits
from batchway.errors import Refusal, RefusalKind
from batchway.lifecycle.screen import screen_operations
from batchway.model.operation import Operation
from batchway.model.result import Result
from batchway.surfaces.mailchimp.refusals import render_refusal
from batchway.targets.base import check_operation


def make_operation(path: str = "/ping", headers: dict[str, str] | None = None) -> Operation:
    """Return an operation with the fields that the rules check."""
    return Operation("GET", path, {}, None, None, headers=headers or {})


@pytest.mark.parametrize(
    "path",
    [
        "/batches",
        "//batches/1",
        "/batch-webhooks/x",
        "https://example.com/3.0/lists",
        "/lists/../x",
    ],
)
def test_paths_that_no_target_gets(path: str) -> None:
    """Absolute paths, paths with relative segments, and batches within batches are refused."""
    with pytest.raises(Refusal) as raised:
        check_operation(make_operation(path))

    assert RefusalKind.WRONG is raised.value.kind


@pytest.mark.parametrize("path", ["/lists/batches", "/lists/a..b", "/batches-of-cake", "/"])
def test_paths_that_look_alike(path: str) -> None:
    """Similar paths are passed to the target."""
    check_operation(make_operation(path))


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer x"},
        {"Host": "example.com"},
        {"Transfer-Encoding": "chunked"},
        {"x": "1\r\ny: 2"},
        {"x y": "1"},
        {"": "1"},
        {f"x-{number}": "1" for number in range(limits.operation_headers_max + 1)},
    ],
)
def test_headers_that_no_target_gets(headers: dict[str, str]) -> None:
    """Credentials, headers of the connection, and what is not a header are refused."""
    with pytest.raises(Refusal, match="header"):
        check_operation(make_operation(headers=headers))


@pytest.mark.parametrize("name", ["if-match", "Accept-Language", "idempotency-key", "x-trace"])
def test_headers_that_a_target_gets(name: str) -> None:
    """All other headers are passed on."""
    check_operation(make_operation(headers={name: "a, b\tc é"}))


def test_refused_operations_keep_their_places() -> None:
    """The results of refused operations are at their positions among the others."""
    good, bad = make_operation(), make_operation("/batches")
    ok = Result.from_bytes(200, b"{}")
    screened = screen_operations([bad, good, bad, good, good], render_refusal)

    assert [good] * 3 == list(screened.admitted)
    assert [400, 200, 400, 200, 200] == _status_codes(screened.merge([ok] * 3))
    assert [400, 200, 400] == _status_codes(screened.merge([ok]))
    assert [400] == _status_codes(screened.merge([]))


def _status_codes(results: object) -> list[int]:
    assert isinstance(results, list)
    return [result.status_code for result in results]
