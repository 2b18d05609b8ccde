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
    print_ast,
)

DEFINITIONS: Final = """
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
"Once it has succeeded, the user that this argument names is gone, and so are the user's tokens."
directive @deletesUser(argument: String!) on FIELD_DEFINITION
"What one selection costs, for the cost limit."
directive @cost(weight: Int!, multipliers: [String!]) on FIELD_DEFINITION

enum Absent { SELF REFUSE }
enum Scope { USER_READ USER_DELETE USER_LINK OFFLOADS_READ OFFLOADS_GENERATE_URL FAKE_DATA_INSERT }

"How schemas written for a federation import directives."
directive @link(url: String!, as: String, for: link__Purpose, import: [link__Import]) repeatable on SCHEMA
scalar link__Import
enum link__Purpose { SECURITY EXECUTION }
"""

_SUPPLIED: Final = parse(DEFINITIONS, no_location=True).definitions
_OWN: Final = {
    definition.name.value: definition
    for definition in _SUPPLIED
    if isinstance(definition, DirectiveDefinitionNode) and definition.name.value != "link"
}
OURS: Final = frozenset(_OWN)


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
    deletes_user: str | None = None

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


def redefined(definition: DirectiveDefinitionNode) -> Iterator[str]:
    """What a file's own definition of one of the gateway's directives promises, and the gateway does not keep."""
    name = definition.name.value
    own = _OWN.get(name)
    if own is None:
        return
    if definition.repeatable:
        yield f"@{name} must not be repeatable: where it stands twice, only one of the two would count."
    if _arguments(definition) != _arguments(own):
        yield f"@{name} is defined with other arguments, types or defaults than the gateway's."
    elsewhere = {node.value for node in definition.locations} - {node.value for node in own.locations}
    if elsewhere:
        yield f"@{name} must not stand on {', '.join(sorted(elsewhere))}, where the gateway does not look for it."


def _arguments(definition: DirectiveDefinitionNode) -> dict[str, tuple[int, str]]:
    """What two definitions must share: names, how deep lists nest, defaults. The type of scopes is the file's own."""
    return {
        node.name.value: (print_ast(node.type).count("["), print_ast(node.default_value) if node.default_value else "")
        for node in definition.arguments or ()
    }


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
        deletes_user=named_argument(uses["deletesUser"]) if "deletesUser" in uses else None,
    )


def scope_lists(directive: DirectiveNode) -> list[list[str]]:
    """The scopes of one `@requiresScopes`: outer list OR, inner list AND. A single value stands for a list of one."""
    return [list(map(_text, items(inner))) for inner in items(argument(directive, "scopes"))]


def argument(directive: DirectiveNode, name: str) -> ValueNode | None:
    """The value of a directive's argument as written, or None."""
    for node in directive.arguments or ():
        if node.name.value == name:
            return node.value
    return None


def named_argument(directive: DirectiveNode) -> str:
    """The argument that `@deletesUser` names; empty where it names none."""
    value = argument(directive, "argument")
    return value.value if isinstance(value, StringValueNode) else ""


def strings(value: ValueNode | None) -> Iterator[str]:
    """The strings of a list of strings, or of a single one; the empty one for what is no string."""
    for item in items(value):
        yield item.value if isinstance(item, StringValueNode) else ""


def integer(value: ValueNode | None) -> int | None:
    """The value of an integer literal, or None where it is no 32-bit integer, which is what GraphQL's Int holds."""
    if not isinstance(value, IntValueNode) or len(value.value) > 11:
        return None
    number = int(value.value)
    return number if -(1 << 31) <= number < 1 << 31 else None


def items(value: ValueNode | None) -> tuple[ValueNode, ...]:
    """The members of a list, or a single value as a list of itself, as coercion has it."""
    if value is None:
        return ()
    return tuple(value.values or ()) if isinstance(value, ListValueNode) else (value,)


def absent_faults(directive: DirectiveNode, coordinate: str) -> Iterator[str]:
    """What is wrong with `whenAbsent`, whose value no rule of the library's looks at."""
    value = argument(directive, "whenAbsent")
    if value is not None and not (isinstance(value, EnumValueNode) and value.value in Absent.__members__):
        yield f"@{directive.name.value} on {coordinate} takes whenAbsent: SELF or whenAbsent: REFUSE, nothing else."


def _text(value: ValueNode) -> str:
    # Schemas written for a federation spell scopes as strings, ours as members of an enum.
    return value.value if isinstance(value, EnumValueNode | StringValueNode) else ""


def _absent(directive: DirectiveNode | None) -> Absent | None:
    if directive is None:
        return None
    value = argument(directive, "whenAbsent")
    return Absent.SELF if isinstance(value, EnumValueNode) and value.value == Absent.SELF else Absent.REFUSE
