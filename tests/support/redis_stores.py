"""Stores on Redis servers, made and opened for a test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from gateway.store.contract import StoreUnavailable
from gateway.store.redis.address import RedisOptions
from gateway.store.redis.founding import init
from gateway.store.redis.store import RedisStore
from tests.store.place import PATIENCE, fill

T = TypeVar("T")

PATIENT: Final = RedisOptions(timeout=5)  # seconds: the machine of the tests may be busy
HASTY: Final = RedisOptions(timeout=0.3)  # for servers that are not to answer


@asynccontextmanager
async def store_at(url: str, options: RedisOptions = PATIENT) -> AsyncIterator[RedisStore]:
    """A store that was made before, closed at the end."""
    store = RedisStore.at(url, options)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def filled_at(url: str, options: RedisOptions = PATIENT) -> AsyncIterator[RedisStore]:
    """A store that is made here, with two apps, a key, a user and a user token of the first."""
    await init(url, PATIENT)
    async with store_at(url) as store:
        await fill(store)
    async with store_at(url, options) as store:
        yield store


async def once_it_answers(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, asked for again until there is one."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                await asyncio.sleep(0.02)
