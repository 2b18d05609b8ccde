"""`gateway serve`: the real thing."""

import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.app import Gateway
from gateway.cli.files import writing
from gateway.cli.opening import VARIABLE, opened
from gateway.cli.running import reasons_told, run, told_to_stop
from gateway.clock import Clock
from gateway.log import configure
from gateway.settings import Settings, load_settings


def serve(
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings file.", envvar=VARIABLE)],
) -> None:
    """Run the gateway with a settings file, until SIGTERM."""
    with reasons_told():
        run(_serve(load_settings(config, environ=os.environ)))


async def _serve(settings: Settings) -> None:
    with writing(settings.log.file or Path()):
        log = configure(settings.log.format, settings.log.level, settings.log.file)
    clock = Clock()
    store = opened(settings, clock=clock)
    try:
        app = Gateway(settings, store, log, clock=clock)
        await app.start()
        await told_to_stop()
        await app.stop()
    finally:
        await store.close()
        log.close()
