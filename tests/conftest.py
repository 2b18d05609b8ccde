"""What holds for every test: uvloop, loopback only, and the number of generated examples."""

import signal
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator, Mapping

import pytest

# Before they are imported: their assertions are to say what was found, as those of tests do.
pytest.register_assert_rewrite(
    *(f"tests.store.{name}" for name in ("acts", "crashing", "place", "racing")),
    *(f"tests.store.checks_{name}" for name in ("acts", "found", "items", "life", "lists")),
)

from tests.support.examples import load_profile  # noqa: E402
from tests.support.loopback import GUARD, GuardedLoop, guarded_sockets  # noqa: E402

load_profile()

# A shell lets what it starts in the background ignore Ctrl-C, and so would every command that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _guarded_session() -> Iterator[None]:
    with guarded_sockets():
        yield


@pytest.fixture(autouse=True)
def _nothing_but_loopback(_guarded_session: None) -> Iterator[None]:
    GUARD.taken()
    yield
    caught = GUARD.taken()
    assert not caught, f"a test may use loopback only, and this one reached for {', '.join(caught)}"


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """Every asynchronous test runs on the event loop that the gateway runs on."""
    return {"uvloop": GuardedLoop}
