"""Many records go into a store in pieces that are neither too large for others to wait for nor out of order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ledger import ActReason, ActRefused
from gateway.keys.batches import A_CALL, AN_ACT, acted, batches
from gateway.store.contract import Store
from tests.store import acts
from tests.store.place import APP


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 2500), max_size=4))
def test_pieces_are_bounded_and_lose_nothing(sizes: dict[str, int]) -> None:
    """A revocation would wait for minutes behind an import; or a record be left out, or come before an older one."""
    by_app = {app: list(range(size)) for app, size in sizes.items()}
    found: dict[str, list[int]] = {app: [] for app in by_app}
    for batch in batches(by_app):
        assert batch
        assert sum(len(records) for _, records in batch) < A_CALL + AN_ACT
        for app, records in batch:
            assert 0 < len(records) <= AN_ACT
            found[app] += records
    assert found == by_app


async def test_a_refusal_is_not_passed_over(empty: Store) -> None:
    """An import would count what was not done as done."""
    with pytest.raises(ActRefused) as refused:
        await acted(empty, [acts.make_app(APP), acts.revoke(APP.id, "5a00000000000001")])
    assert refused.value.reason is ActReason.UNKNOWN_KEY
