"""The store on Redis does what every store must do: on one server, with sentinels, and in a cluster."""

import pytest

from tests.store.place import Place
from tests.store.suite import CHECKS, Check


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_as_every_store(place: Place, check: Check) -> None:
    """Each check says what would break for a user."""
    await check(place)
