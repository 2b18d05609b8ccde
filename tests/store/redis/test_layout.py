"""Names of keys: everything of an app in one slot."""

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from gateway.core.ledger import ItemKind
from gateway.store.redis import layout
from gateway.store.redis.layout import TAGS, Names, tag_of

KINDS = ("app", "keys", "living", "users", "external", "roles")


@given(st.text(st.characters(codec="utf-8"), max_size=64), st.text(st.characters(codec="utf-8"), max_size=64))
def test_everything_of_an_app_has_one_slot(app_id: str, other: str) -> None:
    """An act would need several servers of a cluster, and so be done by halves."""
    names = Names(app_id)
    tag = tag_of(app_id)
    found = [
        *(names.of(kind) for kind in KINDS),
        names.user(other),
        layout.identity_key(tag),
        layout.apps_key(tag),
        layout.audit_key(tag),
        layout.seals_key(tag),
        layout.used_key(tag),
        layout.lease_key(tag, other),
        layout.id_key(tag, other),
        layout.owners_key(tag),
        *(layout.item_key(tag, kind, other) for kind in ItemKind),
        *(layout.items_key(tag, kind, app_id) for kind in ItemKind),
    ]
    assert {key_slot(name.encode()) for name in found} == {key_slot(tag.encode())}
    assert len(set(found)) == len(found)
    assert key_slot(layout.uses_key(app_id).encode()) == key_slot(tag.encode())


@given(st.text(st.characters(codec="utf-8"), max_size=64))
def test_every_id_has_a_tag(subject_id: str) -> None:
    """A made-up id would stop the gateway with a traceback instead of being unknown."""
    assert tag_of(subject_id) in TAGS


@given(st.sampled_from(TAGS), st.text("0123456789abcdef", max_size=62))
def test_the_tag_is_how_an_id_begins(tag: str, rest: str) -> None:
    """What is minted for an app would lie elsewhere than the app."""
    assert tag_of(tag + rest) == tag
