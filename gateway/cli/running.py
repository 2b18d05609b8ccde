"""Running a gateway until it is told to stop, and saying plainly why it cannot start."""

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer

from gateway.building import CannotStart
from gateway.cli.files import file_sentence
from gateway.settings import SettingsInvalid
from gateway.store.contract import StoreUnavailable

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where there is one."""
    if sys.platform == "win32":
        asyncio.run(main)
    else:
        import uvloop

        uvloop.run(main)


async def told_to_stop() -> None:
    """Return at SIGTERM or SIGINT; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def first() -> None:
        for number in _STOPPING:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in _STOPPING:
        loop.add_signal_handler(number, first)
    await stop.wait()


@contextmanager
def reasons_told() -> Iterator[None]:
    """Say on standard error why the gateway cannot start, and exit with 1."""
    try:
        yield
    except SettingsInvalid as error:
        _say(map(str, error.faults))
        raise typer.Exit(1) from error
    except (CannotStart, StoreUnavailable) as error:
        _say(str(error).splitlines())
        raise typer.Exit(1) from error
    except OSError as error:
        _say([file_sentence(error)])
        raise typer.Exit(1) from error


def _say(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        typer.echo(f"gateway: {sentence}", err=True)
