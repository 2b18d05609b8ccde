"""GraphQL as the pretend upstream speaks it: an annotated SDL to a schema, a message to the result of its operation."""

import json
from dataclasses import dataclass
from typing import Final

from graphql import (
    DirectiveDefinitionNode,
    DirectiveLocation,
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    build_ast_schema,
    execute_sync,
    parse,
    validate,
    validate_schema,
)
from graphql.validation import KnownDirectivesRule
from graphql.validation.specified_rules import specified_sdl_rules
from graphql.validation.validate import validate_sdl

from gateway.dev.data import Caller, concrete_type, resolve, root

# Policy directives need no definition here: the text is a policy to the gateway, and to its upstream a schema only.
SDL_RULES: Final = [rule for rule in specified_sdl_rules if rule is not KnownDirectivesRule]
# A directive with none of these locations can stand in no document.
IN_DOCUMENTS: Final = frozenset(
    location.name
    for location in (
        DirectiveLocation.QUERY,
        DirectiveLocation.MUTATION,
        DirectiveLocation.SUBSCRIPTION,
        DirectiveLocation.FIELD,
        DirectiveLocation.FRAGMENT_DEFINITION,
        DirectiveLocation.FRAGMENT_SPREAD,
        DirectiveLocation.INLINE_FRAGMENT,
        DirectiveLocation.VARIABLE_DEFINITION,
    )
)


class SchemaFault(ValueError):
    """A schema text that cannot be served; its own text has a line for each fault."""


def schema_from(text: str) -> GraphQLSchema:
    """The schema of an annotated SDL without its policy; raises SchemaFault."""
    try:
        document = _without_policy(parse(text))
        _demand_none(validate_sdl(document, rules=SDL_RULES))
        schema = build_ast_schema(document, assume_valid_sdl=True)
    except GraphQLError as fault:
        raise SchemaFault(_sentence(fault)) from fault
    _demand_none(validate_schema(schema))
    return schema


def _without_policy(document: DocumentNode) -> DocumentNode:
    """The document without the definitions of directives that no operation may use: they may rest on missing types."""
    kept = tuple(
        node
        for node in document.definitions
        if not isinstance(node, DirectiveDefinitionNode) or IN_DOCUMENTS & {name.value for name in node.locations}
    )
    return DocumentNode(definitions=kept)


def _demand_none(faults: list[GraphQLError]) -> None:
    if faults:
        raise SchemaFault("\n".join(_sentence(fault) for fault in faults))


def _sentence(fault: GraphQLError) -> str:
    """The fault with its line, the last one where two definitions collide."""
    return f"line {fault.locations[-1].line}: {fault.message}" if fault.locations else fault.message


@dataclass(frozen=True, slots=True)
class Message:
    """What a GraphQL request says."""

    query: str
    variables: dict[str, object]
    operation_name: str | None


class BadMessage(Exception):
    """A body that is no GraphQL request; the text is a sentence."""


def message_from(body: bytes) -> Message:
    """The message in a JSON body; raises BadMessage."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as fault:
        raise BadMessage("The body is not JSON.") from fault
    if not isinstance(said, dict) or not isinstance(said.get("query"), str):
        raise BadMessage("The body must be a JSON object with a member query, a string.")
    variables, name = said.get("variables"), said.get("operationName")
    if not isinstance(variables, dict | None) or not isinstance(name, str | None):
        raise BadMessage("The member variables must be an object or null, operationName a string or null.")
    return Message(said["query"], variables or {}, name)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a message: the members of the answer, and whether an operation ran at all."""

    members: dict[str, object]
    ran: bool


def run(schema: GraphQLSchema, message: Message, caller: Caller) -> Result:
    """The result of the message's operation; `data` is absent when no operation ran."""
    try:
        document = parse(message.query)
    except GraphQLError as fault:
        return _not_run([fault])
    if faults := validate(schema, document):
        return _not_run(faults)
    result = execute_sync(
        schema,
        document,
        root_value=root(caller),
        context_value=caller,
        variable_values=message.variables,
        operation_name=message.operation_name,
        field_resolver=resolve,
        type_resolver=concrete_type,
    )
    errors = result.errors or []
    # Only a fault inside the answer has a path; one without it kept the operation from running.
    if errors and all(error.path is None for error in errors):
        return _not_run(errors)
    return Result(dict(ExecutionResult(result.data, result.errors).formatted), ran=True)


def _not_run(faults: list[GraphQLError]) -> Result:
    return Result({"errors": [fault.formatted for fault in faults]}, ran=False)
