"""Authentication codes: what a code is, where it is kept, and that it is good once and for ten minutes."""

import pytest

from gateway.core.audit import AuditAction
from gateway.core.codes import (
    CODE_BYTES,
    CODE_LIFETIME,
    Code,
    NewCode,
    code_from,
    create_code,
    drop_code,
    minted_code,
    sealed_in,
    spent,
)
from gateway.core.ledger import ActReason, ActRefused, Asked, Item, ItemKind, Snapshot
from gateway.core.records import App
from tests.support.ledgers import WHO, Ledger

APP = App("5a0000000000000000000a01", "demo", "eu")
SEALED = bytes(range(20))


def a_code(number: int = 1, app_id: str = APP.id) -> Code:
    """A code, another for each number."""
    code = code_from(minted_code(app_id, number.to_bytes(CODE_BYTES)).reveal().encode())
    assert code is not None
    return code


@pytest.fixture
def ledger() -> Ledger:
    """An app without codes."""
    return Ledger(apps={APP.id: APP})


def test_the_text_of_a_code() -> None:
    """The vendor's clients would not take the code, or the store know where to look for it."""
    text = minted_code(APP.id, bytes(CODE_BYTES)).reveal()
    assert (len(text), text[:24]) == (128, APP.id)
    code = code_from(text.encode())
    assert code is not None
    assert (code.app_id, code.key[0], code.key[1][:2]) == (APP.id, ItemKind.CODE, APP.id[:2])
    assert len({a_code(number).key for number in range(9)} | {a_code(number).opener for number in range(9)}) == 18
    assert code.opener.hex() not in code.key[1]
    assert code.opener.hex() not in repr(code)
    with pytest.raises(ValueError, match="52 random bytes"):
        minted_code(APP.id, bytes(51))


@pytest.mark.parametrize("text", [b"", b"a" * 127, b"a" * 129, b"A" * 128, b"g" * 128, b"a" * 128 + b"\n"])
def test_what_is_no_code(text: bytes) -> None:
    """A store would be asked for whatever a stranger sends."""
    assert code_from(text) is None


def test_a_code_is_good_for_ten_minutes_and_once(ledger: Ledger) -> None:
    """A code that was seen in a log would open an account for ever."""
    code = a_code()
    asked = Asked(APP.id, items=(code.key,))
    made = ledger.do(asked, lambda seen: create_code(seen, NewCode(code.key, SEALED), WHO))
    (item,) = made.items
    assert [(event.action, event.subject_id) for event in made.events] == [(AuditAction.CODE_CREATED, code.key[1])]
    assert item.ends_at == ledger.now + CODE_LIFETIME
    ledger.now += CODE_LIFETIME - 1
    assert sealed_in(item, ledger.now) == SEALED
    assert spent(ledger.seen(asked), code.key) == code.key
    again = ledger.do(asked, lambda seen: create_code(seen, NewCode(code.key, SEALED), WHO))
    assert (again.items, again.events) == ((item,), ())
    ledger.now += 1
    for seen in (ledger.seen(asked), Snapshot(ledger.now, APP), Snapshot(0, None, items={code.key: item})):
        with pytest.raises(ActRefused) as refusal:
            spent(seen, code.key)
        assert refusal.value.reason is ActReason.CODE_INVALID
    assert (sealed_in(item, ledger.now), sealed_in(None, 0)) == (None, None)
    for _ in range(2):
        ledger.do(asked, lambda seen: drop_code(seen, code.key))
    assert not ledger.items


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"sealed": 1}', '{"sealed": "00"}', '{"sealed": "%s", "more": 1}' % ("00" * 20)]
)
def test_a_damaged_code(text: str) -> None:
    """Damage in the store would be taken for a code of somebody."""
    with pytest.raises(ValueError, match=r".+"):
        sealed_in(Item(ItemKind.CODE, "5a", APP.id, text, 1), 0)
    with pytest.raises(ValueError, match="not an authentication code"):
        sealed_in(Item(ItemKind.CODE, "5a", APP.id, '{"sealed": "%s"}' % ("00" * 20)), 0)
