"""The gateway's directives: their definitions, supplied where a schema leaves them out, and what each use says."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from graphql import (
    DirectiveDefinitionNode,
    DirectiveNode,
    DocumentNode,
    EnumValueNode,
    IntValueNode,
    ListValueNode,
    Node,
    StringValueNode,
    TypeDefinitionNode,
    ValueNode,
    parse,
)

DEFINITIONS: Final = '''
"What an API key must hold: any of the outer lists, all of an inner one."
directive @requiresScopes(scopes: [[Scope!]!]!) on FIELD_DEFINITION | OBJECT | INTERFACE | SCALAR | ENUM
"Any valid credential of either kind may use it."
directive @authenticated on FIELD_DEFINITION | OBJECT | INTERFACE | SCALAR | ENUM
"An SDK user token may use it."
directive @userContext on FIELD_DEFINITION | OBJECT | INTERFACE
"The value must be the user token's own user id."
directive @ownUser(whenAbsent: Absent! = REFUSE) on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION
"A person has decided that this value may name another user."
directive @anyUser(reason: String!) on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION
"The value must be the credential's own app id."
directive @ownApp(whenAbsent: Absent! = REFUSE) on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION
"Refused to user tokens, wherever it is reached; on an argument or input field: when a value is supplied."
directive @keysOnly on
  FIELD_DEFINITION | OBJECT | INTERFACE | SCALAR | ENUM | ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION
"Refused to everyone through the gateway."
directive @closed on
  FIELD_DEFINITION | OBJECT | INTERFACE | SCALAR | ENUM | ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION
"What one selection costs, for the cost limit."
directive @cost(weight: Int!, multipliers: [String!]) on FIELD_DEFINITION

enum Absent { SELF REFUSE }
enum Scope { USER_READ USER_DELETE USER_LINK OFFLOADS_READ OFFLOADS_GENERATE_URL FAKE_DATA_INSERT }

"How schemas written for a federation import directives."
directive @link(url: String!, as: String, for: link__Purpose, import: [link__Import]) repeatable on SCHEMA
scalar link__Import
enum link__Purpose { SECURITY EXECUTION }
'''

_SUPPLIED: Final = parse(DEFINITIONS, no_location=True).definitions
OURS: Final = frozenset(
    definition.name.value
    for definition in _SUPPLIED
    if isinstance(definition, DirectiveDefinitionNode) and definition.name.value != "link"
)


class Absent(StrEnum):
    """What an own-user or own-app value means when it is absent: the caller itself, or a refusal."""

    SELF = "SELF"
    REFUSE = "REFUSE"


@dataclass(frozen=True, slots=True)
class Mark:
    """What the directives on one element of the schema say, together. `scopes`: any of the outer, all of an inner."""

    coordinate: str
    scopes: tuple[frozenset[str], ...] = ()
    authenticated: bool = False
    user_context: bool = False
    keys_only: bool = False
    closed: bool = False
    own_user: Absent | None = None
    own_app: Absent | None = None
    any_user: bool = False

    @property
    def refuses_users(self) -> bool:
        """Scopes are held by keys alone; what demands them is open to users only where the same element says so."""
        return self.keys_only or bool(self.scopes and not (self.user_context or self.authenticated))

    @property
    def names_caller(self) -> bool:
        """Whether a value here must be the caller's own."""
        return self.own_user is not None or self.own_app is not None


def supply(document: DocumentNode) -> DocumentNode:
    """The document with every definition of the gateway's that it leaves out."""
    present = {_kind_and_name(definition) for definition in document.definitions}
    missing = (definition for definition in _SUPPLIED if _kind_and_name(definition) not in present)
    return DocumentNode(definitions=(*document.definitions, *missing), loc=document.loc)


def _kind_and_name(definition: Node) -> tuple[str, str] | None:
    if isinstance(definition, DirectiveDefinitionNode):
        return "@", definition.name.value
    if isinstance(definition, TypeDefinitionNode):
        return "type", definition.name.value
    return None


def mark_from(coordinate: str, directives: Iterable[DirectiveNode]) -> Mark | None:
    """What the directives say, or None where none of them is the gateway's. Assumes a valid SDL document."""
    uses = {directive.name.value: directive for directive in directives if directive.name.value in OURS}
    if not uses:
        return None
    return Mark(
        coordinate,
        scopes=tuple(map(frozenset, scope_lists(uses["requiresScopes"]))) if "requiresScopes" in uses else (),
        authenticated="authenticated" in uses,
        user_context="userContext" in uses,
        keys_only="keysOnly" in uses,
        closed="closed" in uses,
        own_user=_absent(uses.get("ownUser")),
        own_app=_absent(uses.get("ownApp")),
        any_user="anyUser" in uses,
    )


def scope_lists(directive: DirectiveNode) -> list[list[str]]:
    """The scopes of one `@requiresScopes`: outer list OR, inner list AND. A single value stands for a list of one."""
    return [list(map(_scope, _items(inner))) for inner in _items(argument(directive, "scopes"))]


def argument(directive: DirectiveNode, name: str) -> ValueNode | None:
    """The value of a directive's argument as written, or None."""
    for node in directive.arguments or ():
        if node.name.value == name:
            return node.value
    return None


def strings(value: ValueNode | None) -> Iterator[str]:
    """The strings of a list of strings, or of a single one."""
    for item in _items(value):
        if isinstance(item, StringValueNode):
            yield item.value


def integer(value: ValueNode | None) -> int | None:
    """The value of an integer literal, or None."""
    return int(value.value) if isinstance(value, IntValueNode) else None


def _items(value: ValueNode | None) -> tuple[ValueNode, ...]:
    if value is None:
        return ()
    return tuple(value.values or ()) if isinstance(value, ListValueNode) else (value,)


def _scope(value: ValueNode) -> str:
    # Schemas written for a federation spell scopes as strings, ours as members of an enum.
    return value.value if isinstance(value, EnumValueNode | StringValueNode) else ""


def _absent(directive: DirectiveNode | None) -> Absent | None:
    if directive is None:
        return None
    value = argument(directive, "whenAbsent")
    return Absent(value.value) if isinstance(value, EnumValueNode) else Absent.REFUSE
