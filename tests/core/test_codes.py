"""Authentication codes: what a code is, where it is kept, and that it is good once and for ten minutes."""

from dataclasses import replace

import orjson
import pytest

from gateway.core.audit import AuditAction
from gateway.core.codes import (
    CODE_BYTES,
    CODE_LIFETIME,
    Code,
    KeptCode,
    NewCode,
    code_from,
    code_in,
    create_code,
    drop_code,
    minted_code,
    spent,
)
from gateway.core.ledger import ActReason, ActRefused, Asked, Item, ItemKind, Snapshot
from gateway.core.records import App, KeyRecord
from tests.support.ledgers import WHO, Ledger

APP = App("5a0000000000000000000a01", "demo", "eu")
KEY = KeyRecord("5a00000000000001", APP.id, "backend", frozenset({"USER_LINK"}), bytes(32), 0, 2_000_000_000_000)
SEALED = bytes(range(20))


def a_code(number: int = 1, app_id: str = APP.id) -> Code:
    """A code, another for each number."""
    code = code_from(minted_code(app_id, number.to_bytes(CODE_BYTES)).reveal().encode())
    assert code is not None
    return code


@pytest.fixture
def ledger() -> Ledger:
    """An app with a key and without codes."""
    return Ledger(apps={APP.id: APP}, keys={KEY.id: KEY})


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
    asked = Asked(APP.id, keys=(KEY.id,), items=(code.key,))
    wish = NewCode(code.key, KEY.id, "a", SEALED)
    made = ledger.do(asked, lambda seen: create_code(seen, wish, WHO))
    (item,) = made.items
    assert [(event.action, event.subject_id) for event in made.events] == [(AuditAction.CODE_CREATED, code.key[1])]
    assert item.ends_at == ledger.now + CODE_LIFETIME
    ledger.now += CODE_LIFETIME - 1
    assert code_in(item, ledger.now) == KeptCode(SEALED, KEY.id, None, ledger.now - CODE_LIFETIME + 1)
    assert spent(ledger.seen(asked), code.key, None) == code.key
    again = ledger.do(asked, lambda seen: create_code(seen, wish, WHO))
    assert (again.items, again.events) == ((item,), ())
    ledger.now += 1
    for seen in (ledger.seen(asked), Snapshot(ledger.now, APP), Snapshot(0, None, items={code.key: item})):
        with pytest.raises(ActRefused) as refusal:
            spent(seen, code.key, None)
        assert refusal.value.reason is ActReason.CODE_INVALID
    assert (code_in(item, ledger.now), code_in(None, 0)) == (None, None)
    for _ in range(2):
        ledger.do(asked, lambda seen: drop_code(seen, code.key))
    assert not ledger.items


GOOD: dict[str, object] = {"sealed": "00" * 20, "key": "5a01", "user": None, "made_at": 0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        *(
            orjson.dumps(GOOD | damage).decode()
            for damage in ({"sealed": 1}, {"sealed": "00"}, {"key": None}, {"user": 1}, {"made_at": ""}, {"more": 1})
        ),
        *(orjson.dumps({name: GOOD[name] for name in GOOD if name != left_out}).decode() for left_out in GOOD),
    ],
)
def test_a_damaged_code(text: str) -> None:
    """Damage in the store would be taken for a code of somebody."""
    with pytest.raises(ValueError, match=r".+"):
        code_in(Item(ItemKind.CODE, "5a", APP.id, text, 1), 0)
    endless = Item(ItemKind.CODE, "5a", APP.id, orjson.dumps(GOOD).decode())
    with pytest.raises(ValueError, match="not an authentication code"):
        code_in(endless, 0)
    assert code_in(replace(endless, ends_at=1), 0) == KeptCode(bytes(20), "5a01", None, 0)
