"""Deleted users: whom an operation deletes, which answers mean that it has, and what then remains of a user."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import deletion, people
from gateway.core.audit import AuditAction
from gateway.core.decision import Allow, Deletion, Deny, Reported
from gateway.core.deletion import gone, surely_gone
from gateway.core.document import DocumentLimits
from gateway.core.judge import decide
from gateway.core.ledger import ActReason, ActRefused, Item, ItemKind
from gateway.core.operation import analyse
from gateway.core.people import NewUserToken
from gateway.core.policy import Options, UserScoping
from gateway.core.records import App, Fault, User, user_token_fault
from gateway.core.schema import SchemaInvalid, compile_policy
from gateway.core.takings import user_taking
from gateway.core.wishes import DAY
from tests.support.ledgers import WHO, Ledger
from tests.support.vectors import OTHER_USER, OWN_USER, caller, rows, schema_text

SCHEMA = schema_text("deletions")
POLICY = compile_policy(SCHEMA, Options(scoping={"eu": UserScoping.UPSTREAM}))
IDS = {"self": OWN_USER, "other": OTHER_USER}


def decided(query: str, variables: Mapping[str, Any], who: Any, options: Options | None = None) -> Any:
    """The decision about an operation."""
    policy = compile_policy(SCHEMA, options) if options else POLICY
    for name, user_id in IDS.items():
        query = query.replace(f'"{name}"', f'"{user_id}"')
    variables = {name: _named(value) for name, value in variables.items()}
    return decide(policy, caller(who), analyse(policy, query, None, DocumentLimits()), variables)


def _named(value: Any) -> Any:
    return IDS.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in rows("deletions.yaml")])
def test_whom_an_operation_deletes(row: Mapping[str, Any]) -> None:
    """Another user's tokens would end than the one who was deleted, or nobody's."""
    decision = decided(row["query"], row.get("variables") or {}, row.get("caller", {"key": ["DELETE"]}))
    if "refused" in row:
        assert isinstance(decision, Deny)
        assert [finding.reason.value for finding in decision.findings] == [row["refused"]]
    else:
        expected = {Deletion(IDS.get(user_id, user_id), *rest) for user_id, *rest in row["deletes"]}
        assert isinstance(decision, Allow)
        assert set(decision.deletions) == expected


def test_in_report_mode() -> None:
    """What is let through and only reported would delete users whose tokens go on."""
    decision = decided('mutation { remove(user_id: "other") }', {}, {"key": []}, Options(report=True))
    assert isinstance(decision, Reported)
    assert decision.deletions == (Deletion(OTHER_USER, "remove"),)


@given(
    st.lists(
        st.tuples(st.sampled_from(["plain", "inline", "fragment", "twice"]), st.booleans(), st.sampled_from("abcd")),
        min_size=1,
        max_size=6,
    )
)
def test_no_rewriting_hides_a_deletion(selections: list[tuple[str, bool, str]]) -> None:
    """Whoever wraps a deletion in aliases and fragments would keep the deleted user's tokens alive."""
    parts, fragments, expected = [], [], set()
    for number, (shape, conditional, key) in enumerate(selections):
        condition = " @include(if: $x)" if conditional else ""
        field = f'{key}: remove(user_id: "u{number}"){condition}'
        expected.add(f"u{number}")
        if shape == "plain":
            parts.append(field)
        elif shape == "inline":
            parts.append(f"... on Mutation {{ {field} }}")
        else:
            fragments.append(f"fragment F{number} on Mutation {{ {field} }}")
            parts.extend([f"...F{number}"] * (2 if shape == "twice" else 1))
    query = f"mutation ($x: Boolean = true) {{ {' '.join(parts)} }} {' '.join(fragments)}"
    decision = decided(query, {}, {"key": ["DELETE"]})
    assert {each.user_id for each in decision.deletions} == expected
    keys = {key for _, _, key in selections}
    answer = orjson.dumps({"data": dict.fromkeys(keys, 1)})
    assert set(gone(decision.deletions, answer)) == expected


FAULTS = {
    "an unknown argument": ('a(id: ID): Int @authenticated @deletesUser(argument: "x")', "which is not an argument"),
    "no argument": ('a(id: ID): Int @authenticated @deletesUser(argument: "")', "which is not an argument"),
    "no string": ("a(id: ID): Int @authenticated @deletesUser(argument: id)", "which is not an argument"),
    "a number": ('a(id: Int): Int @authenticated @deletesUser(argument: "id")', "must be one user's id"),
    "a list": ('a(id: [ID!]): Int @authenticated @deletesUser(argument: "id")', "must be one user's id"),
    "a default": ('a(id: ID = "5"): Int @authenticated @deletesUser(argument: "id")', "has a default"),
    "closed": (
        'a(id: ID): Int @closed @deletesUser(argument: "id")',
        "is @closed, so its other directives say nothing",
    ),
    "left out": ("a(id: ID): Int @authenticated @deletesUser", "argument"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mark_that_names_nobody(fault: str) -> None:
    """A deletion would end nobody's tokens, and the person who wrote the schema would not know."""
    field, sentence = FAULTS[fault]
    with pytest.raises(SchemaInvalid) as caught:
        compile_policy("type Query { q: Int @authenticated }\ntype Mutation {\n" + field + "\n}")
    assert [each.line for each in caught.value.faults] == [3]
    assert sentence in caught.value.faults[0].sentence


ONE = Deletion("u", "a")
ANSWERS: dict[str, tuple[object, bool]] = {
    "a result": ({"data": {"a": {"x": 1}}}, True),
    "null alone": ({"data": {"a": None}}, True),
    "failed": ({"data": {"a": None}, "errors": [{"path": ["a"]}]}, False),
    "failed whole": ({"data": None, "errors": [{"path": ["a"]}]}, False),
    "failed, and told of others too": ({"data": {"a": None}, "errors": [7, {"path": 7}, {}, {"path": ["a"]}]}, False),
    "a result beside an error": ({"data": {"a": 1}, "errors": [{"path": ["a"]}]}, True),
    "a member failed": ({"data": {"a": None}, "errors": [{"path": ["a", "x"]}]}, True),
    "another failed": ({"data": {"a": None}, "errors": [{"path": ["b"]}]}, True),
    "nobody failed": ({"data": {"a": None}, "errors": []}, True),
    "errors are no list": ({"data": {"a": None}, "errors": {"path": ["a"]}}, True),
    "a path of numbers": ({"data": {"a": None}, "errors": [{"path": [1]}]}, True),
    "no data": ({"errors": [{"path": ["a"]}]}, True),
    "data are a list": ({"data": [None], "errors": [{"path": ["a"]}]}, True),
    "left out": ({"data": {}}, True),
    "left out with an error": ({"data": {}, "errors": [{"path": ["a"]}]}, True),
    "a list": ([{"data": {"a": None}}], True),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_which_answers_say_that_it_failed(answer: str) -> None:
    """A user who was not deleted would lose everything, or one who was would live on."""
    told, deleted = ANSWERS[answer]
    assert gone([ONE], orjson.dumps(told)) == (("u",) if deleted else ())


@given(st.binary(max_size=100))
def test_what_is_no_answer(answer: bytes) -> None:
    """Whatever cannot be read would count as a failure."""
    assert gone([ONE, Deletion("v"), ONE], answer) == ("u", "v")


@pytest.mark.parametrize(
    "answer",
    [
        b'{"data": {"a": 1}, "data": {"a": null}, "errors": [{"path": ["a"]}]}',
        b'{"data": {"a": 1, "a": null}, "errors": [{"path": ["a"]}]}',
        b'{"data": {"a": null}, "errors": [{"path": ["a"]}]} x',
        b'\xef\xbb\xbf{"data": {"a": null}, "errors": [{"path": ["a"]}]}',
    ],
)
def test_what_two_parsers_read_differently(answer: bytes) -> None:
    """The client would read that the user is gone, and the gateway that the user is not."""
    assert gone([ONE], answer) == ("u",)


def test_what_was_left_out_by_a_condition() -> None:
    """A user would be deleted here whom a condition spared there."""
    spared, sure = Deletion("u", "a", left_out=True), Deletion("v", "a")
    assert gone([spared, sure], b'{"data":{}}') == ("v",)
    assert gone([spared], b'{"data":{"a":null}}') == ("u",)


FIELD = 'remove(user_id: "other")'
SPREAD = f"fragment F on Mutation {{ {FIELD} }}"
CONDITIONS = [
    (f"mutation {{ {FIELD} @include(if: true) }}", False),
    (f"mutation {{ {FIELD} @include(if: false) }}", True),
    (f"mutation {{ {FIELD} @skip(if: true) }}", True),
    (f"mutation {{ {FIELD} @skip(if: false) }}", False),
    (f"mutation {{ {FIELD} @skip(if: false) @include(if: false) }}", True),
    (f"mutation ($x: Boolean!) {{ {FIELD} @skip(if: $x) }}", True),
    (f"mutation ($x: Boolean!) {{ {FIELD} @include(if: $x) }}", False),
    (f"mutation ($y: Boolean! = false) {{ {FIELD} @include(if: $y) }}", True),
    (f"mutation {{ ... @skip(if: true) {{ ... {{ {FIELD} }} }} }}", True),
    (f"mutation {{ ...F @skip(if: true) }} {SPREAD}", True),
    (f"mutation {{ ... @include(if: false) {{ ...F }} }} {SPREAD}", True),
    (f"mutation {{ ...F @skip(if: true) ...F }} {SPREAD}", False),
    (f"mutation {{ ...F ...F @skip(if: true) }} {SPREAD}", False),
    (f"mutation {{ ...F @skip(if: true) ...F @include(if: false) }} {SPREAD}", True),
]


@pytest.mark.parametrize(("query", "left_out"), CONDITIONS)
def test_conditions_that_plainly_keep_it_from_running(query: str, left_out: bool) -> None:
    """A condition that says nothing would spare a user, or one that is false end somebody who was spared."""
    (deleted,) = decided(query, {"x": True} if "$x" in query else {}, {"key": ["DELETE"]}).deletions
    assert deleted == Deletion(OTHER_USER, "remove", left_out)


def test_conditions_of_doubling_fragments() -> None:
    """A document of half a kilobyte would hold the gateway for minutes."""
    chain = "".join(f"fragment F{n} on Mutation {{ ...F{n + 1} @skip(if: true) ...F{n + 1} }} " for n in range(30))
    query = f"mutation {{ ...F0 }} {chain} fragment F30 on Mutation {{ {FIELD} }}"
    operation = analyse(POLICY, query, None, DocumentLimits(document_root_fields=1 << 40))
    decision = decide(POLICY, caller({"key": ["DELETE"]}), operation, {})
    assert isinstance(decision, Allow)
    assert decision.deletions == (Deletion("other", "remove"),)


def test_conditions_of_a_long_chain_of_fragments() -> None:
    """A document of fragments that spread each other would end a request with 500, or take the process down."""
    length = 3_000
    chain = "".join(
        f"fragment F{n} on Mutation {{ ...F{n + 1} @skip(if: {str(n == 7).lower()}) }} " for n in range(length)
    )
    query = f"mutation {{ ...F0 }} {chain} fragment F{length} on Mutation {{ {FIELD} }}"
    operation = analyse(POLICY, query, None, DocumentLimits(document_tokens=1 << 20, document_bytes=1 << 20))
    decision = decide(POLICY, caller({"key": ["DELETE"]}), operation, {})
    assert isinstance(decision, Allow)
    assert decision.deletions == (Deletion("other", "remove", left_out=True),)


SURELY: dict[bytes, tuple[str, ...]] = {
    b'{"data":{"a":{}}}': ("u", "w"),
    b'{"data":{"a":{}},"errors":[{"path":["a","b"]}]}': ("u",),
    b'{"data":{"a":null}}': ("w",),
    b'{"data":{}}': ("w",),
    b'{"data":null}': ("w",),
    b'{"errors":[{"message":"no"}]}': (),
    b'{"message":"ok"}': ("w",),
    b"": ("w",),
    b"[]": (),
    b"gone": (),
    b'{"data":{"a":{}},"data":{"a":null}}': (),
}


@pytest.mark.parametrize("answer", SURELY)
def test_which_answers_plainly_say_that_it_is_done(answer: bytes) -> None:
    """In report mode anybody could end anybody by a request that the upstream refuses."""
    assert surely_gone([Deletion("u", "a"), Deletion("w"), Deletion("u", "a")], answer) == SURELY[answer]


def test_below_the_root() -> None:
    """One of several that one fragment stands for could speak for all of them."""
    assert gone([Deletion("u")], b'{"data":{"a":null},"errors":[{"path":["a"]}]}') == ("u",)


# What remains -------------------------------------------------------------------------------------------------------

APP = App("5a0000000000000000000a01", "demo", "eu")
USER = "5a0000000000000000000b01"


@pytest.fixture
def ledger() -> Ledger:
    """An app with a user who has a token and a session."""
    made = Ledger(apps={APP.id: APP})
    made.users[APP.id, USER] = User(USER, APP.id, "ada@example.com")
    wish = NewUserToken("5a00000000000001", bytes(32), USER, None, USER, DAY)
    made.do(deletion.asked_of(APP.id, USER), lambda seen: people.create_user_token(seen, wish, WHO))
    made.items[ItemKind.FAMILIES, f"{APP.id}.{USER}"] = Item(ItemKind.FAMILIES, f"{APP.id}.{USER}", APP.id, "{}")
    made.events.clear()
    return made


def delete(ledger: Ledger, user_id: str = USER, app_id: str = APP.id) -> Any:
    """Delete a user."""
    return ledger.do(deletion.asked_of(app_id, user_id), lambda seen: deletion.delete_user(seen, user_id, WHO))


def test_a_tombstone_remains(ledger: Ledger) -> None:
    """The person could still be told from what is kept, or the tokens would work."""
    delete(ledger)
    user = ledger.users[APP.id, USER]
    assert (user.deleted, user.external_id) == (True, None)
    assert user_token_fault(ledger.tokens["5a00000000000001"], user, APP, ledger.now) is Fault.REVOKED
    assert ledger.items == {}
    (event,) = ledger.events
    assert (event.action, event.subject_id, event.about) == (AuditAction.USER_DELETED, USER, "")
    assert user_taking(user) is not None


def test_it_happens_once(ledger: Ledger) -> None:
    """A deletion that is tried again would be told twice."""
    delete(ledger)
    assert not delete(ledger)
    assert len(ledger.events) == 1


def test_an_unknown_user(ledger: Ledger) -> None:
    """Tokens of another issuer would go on for a user who was deleted before this store heard of it."""
    delete(ledger, "stranger")
    assert ledger.users[APP.id, "stranger"].deleted


def test_an_unknown_app(ledger: Ledger) -> None:
    """A deletion could make users of apps that there are not."""
    with pytest.raises(ActRefused) as refused:
        delete(ledger, app_id="5a0000000000000000000fff")
    assert refused.value.reason is ActReason.UNKNOWN_APP
