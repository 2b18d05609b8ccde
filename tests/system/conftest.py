"""What holds for every test of the installed command."""

import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from tests.support.sweep import Sweep


@pytest.fixture
def sweep() -> Iterator[Sweep]:
    """Searches store, write-ahead log, log file and standard error for every token that the test used."""
    made = Sweep()
    yield made
    assert made.used
    assert made.found() == []


@pytest.fixture(autouse=True)
def _logging_left_alone() -> Iterator[None]:
    """Commands that run in this process set up its logging."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with warnings.catch_warnings():
        yield
        logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
