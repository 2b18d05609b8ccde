"""The compiled policy's own small rules: who is meant, which scopes do, where a region was not named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.policy import Caller, Introspection, Need, Options, UserScoping
from gateway.core.schema import compile_policy

_SCOPES = st.frozensets(st.sampled_from("ABCD"), max_size=4)


def test_callers_are_bits() -> None:
    """What concerns one kind of caller is demanded of the other as well."""
    assert Caller.KEY | Caller.USER == Caller.BOTH
    assert Caller.KEY & Caller.USER == Caller.NONE


@pytest.mark.parametrize(
    ("setting", "closed"),
    [
        (Introspection.NONE, Caller.BOTH),
        (Introspection.KEYS, Caller.USER),
        (Introspection.ALL, Caller.NONE),
    ],
)
def test_introspection(setting: Introspection, closed: int) -> None:
    """The schema is shown to somebody to whom it is closed."""
    assert setting.closed_to == closed


@given(st.lists(_SCOPES, max_size=3), _SCOPES)
def test_scopes(sets: list[frozenset[str]], held: frozenset[str]) -> None:
    """A key passes with part of what is demanded, or with nothing where nothing would do."""
    expected = False
    for needed in sets:
        expected = expected or all(scope in held for scope in needed)

    assert Need("Query.a", tuple(sets)).met(held) is expected


def test_a_region_that_nobody_decided_about() -> None:
    """An upstream is trusted to confine users though nobody has said that it does."""
    policy = compile_policy(
        "type Query { a: Int @authenticated }",
        Options(scoping={"eu": UserScoping.UPSTREAM, "us": UserScoping.ARGUMENTS}),
    )

    assert policy.scoping("eu") is UserScoping.UPSTREAM
    assert policy.scoping("us") is UserScoping.ARGUMENTS
    assert policy.scoping("in") is UserScoping.ARGUMENTS


def test_roots() -> None:
    """The fields of one root are looked for on the other."""
    both = compile_policy("schema { query: Q mutation: M } type Q { a: Int @closed } type M { b: Int @closed }")
    one = compile_policy("type Query { a: Int @closed } type Mutation2 { b: Int }")

    assert (both.root("query"), both.root("mutation")) == ("Q", "M")
    assert (one.root("query"), one.root("mutation")) == ("Query", None)
