"""Gateways for whole modules, which none of their tests may harm."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.held import Held
from tests.support.running import Running, running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """A gateway with the usual settings, before an echo."""
    async with running(tmp_path_factory.mktemp("gateway")) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def held() -> AsyncIterator[Held]:
    """An upstream that answers when told to."""
    async with Held() as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def waiting(tmp_path_factory: pytest.TempPathFactory, held: Held) -> AsyncIterator[Running]:
    """A gateway before the upstream that answers when told to."""
    async with running(tmp_path_factory.mktemp("waiting"), upstream_url=held.url) as started:
        yield started
