"""Who may use the management API for all apps. Developers' tokens live in the store."""

from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.settings.kinds import OperatorName, Section, TokenDigest


class Operator(Section):
    """Somebody who runs the gateway."""

    name: OperatorName = Field(description="What the audit calls the operator.")
    # The digest alone: settings are shown by tools, and lie in repositories.
    token_sha256: TokenDigest = Field(
        description="SHA-256 of the operator's token, as `gateway operators token` prints it."
    )


def _apart(operators: tuple[Operator, ...]) -> tuple[Operator, ...]:
    names = [operator.name for operator in operators]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"must not name {', '.join(twice)} twice")
    if len({operator.token_sha256 for operator in operators}) < len(operators):
        raise ValueError("must not give two operators one token: the audit could not tell them apart")
    return operators


class Api(Section):
    """The management API on the admin listener."""

    operators: Annotated[tuple[Operator, ...], AfterValidator(_apart)] = Field(
        default=(), description="Those who may do everything; `gateway operators token NAME` makes a token for one."
    )
