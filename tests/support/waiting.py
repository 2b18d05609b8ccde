"""Waiting for what nothing tells of: bounded in time, and the one place where tests look again and again."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Final

PATIENCE: Final = 30.0  # a cold start on a busy machine takes some seconds


async def eventually(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return as soon as the condition holds; fail when it does not come to."""
    async with asyncio.timeout(PATIENCE):
        while not await _holds(condition):  # noqa: ASYNC110 - no event tells of it: that is what this is for
            await asyncio.sleep(0.01)


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    found = condition()
    return await found if inspect.isawaitable(found) else bool(found)
