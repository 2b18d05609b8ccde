"""REST routes beside the GraphQL path: the shape of a rule, and the vendor's rules. `core.routing` applies them."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from gateway.settings.kinds import ParameterNames, ScopeNames, Section, Switch

_LITERAL: Final = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+"
_PARAMETER: Final = r"\{[a-z][a-z0-9_]*\}"
_TEMPLATE: Final = re.compile(rf"(?:/(?:{_LITERAL}|{_PARAMETER}))+(?:/\{{[a-z][a-z0-9_]*\.\.\.\}})?")

# What the gateway answers itself, now or later: a rule here would send callers' secrets to the upstream, or never be
# asked. None stands for every method.
KEPT: Final = (
    ("POST", "/users/auth-code"),
    ("POST", "/users"),
    ("POST", "/users/token"),
    (None, "/keys/self"),
    ("POST", "/leaks/github"),
)


def _template(text: str) -> str:
    if _TEMPLATE.fullmatch(text) is None:
        raise ValueError(
            "must be segments of letters, digits and . _ ~ - between slashes; {name} stands for one segment"
            " and {name...}, at the end only, for one or more"
        )
    names = re.findall(r"\{(\w+)", text)
    if len(names) != len(set(names)):
        raise ValueError("must not name a parameter twice")
    return text


class Route(Section):
    """One rule: who may send one method to the paths of one template."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = Field(description="The method.")
    path: Annotated[str, AfterValidator(_template)] = Field(
        description="The path: literal segments, `{name}` for one segment, and at the end `{name...}` for one or more."
    )
    scopes: ScopeNames = Field(default=(), description="What an API key must hold, all of it.")
    users: Switch = Field(default=False, description="Whether user tokens may enter.")
    keys: Switch = Field(default=True, description="Whether API keys may enter.")
    own_user: str | None = Field(
        default=None, description="The path parameter that must be the user token's own user, byte for byte."
    )
    query: ParameterNames = Field(default=(), description="The query parameters that pass; any other is refused.")
    own_user_query: str | None = Field(
        default=None, description="The query parameter that must be the user token's own user, byte for byte."
    )
    deletes_user: str | None = Field(
        default=None,
        description="The path parameter that names a user who is deleted: with a success the user's tokens end.",
    )
    open: Switch = Field(
        default=False, description="Whether no credential is needed; one that is presented is judged still."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Route":
        faults = [sentence for sentence, wrong in self._contradictions().items() if wrong]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _contradictions(self) -> dict[str, bool]:
        named = re.findall(r"\{(\w+)\}", self.path)
        own = self.own_user is not None or self.own_user_query is not None
        closed = not self.open
        return {
            f"must not cover {self._kept()}, which the gateway keeps for itself": self._kept() != "",
            "own_user must name a {parameter} of the path": self.own_user not in (None, *named),
            "deletes_user must name a {parameter} of the path": self.deletes_user not in (None, *named),
            "deletes_user with users: true needs the same parameter as own_user, or users could delete each other": (
                self.deletes_user is not None and self.users and self.own_user != self.deletes_user
            ),
            "own_user_query must be one of query": self.own_user_query not in (None, *self.query),
            "an open route must not have scopes, users, own_user, own_user_query or deletes_user": self.open
            and (bool(self.scopes) or self.users or own or self.deletes_user is not None),
            "own_user and own_user_query need users: true": closed and own and not self.users,
            "must name scopes that a key needs, or say keys: false": closed and self.keys and not self.scopes,
            "must not name scopes beside keys: false": closed and not self.keys and bool(self.scopes),
            "must let somebody enter: keys, users or open": closed and not self.keys and not self.users,
        }

    def _kept(self) -> str:
        """What of the gateway's own the rule would cover, as it is written; or nothing."""
        pattern = re.compile(".+".join(map(re.escape, re.split(r"\{[^}]*\}", self.path))))
        covered = (
            f"{method or ''} {path}".strip()
            for method, path in KEPT
            if method in (None, self.method) and pattern.fullmatch(path)
        )
        return ", ".join(covered)

    def shape(self) -> tuple[str, str]:
        """What two rules must not share: the method, and the path with its parameters made nameless."""
        return self.method, re.sub(r"\{\w+", "{", self.path)


# No query parameter of these routes is documented, so none passes until an operator names it.
VENDOR_ROUTES: Final = (
    Route(method="POST", path="/v2/users/{install_id}/link", scopes=("USER_LINK",)),
    Route(
        method="DELETE",
        path="/users/{user_id}",
        scopes=("USER_DELETE",),
        users=True,
        own_user="user_id",
        deletes_user="user_id",
    ),
    Route(method="GET", path="/v2/users/me", keys=False, users=True),
    Route(method="GET", path="/v2/users/{user_id}", scopes=("USER_READ",), users=True, own_user="user_id"),
    Route(method="GET", path="/v2/users/{user_id}/{rest...}", scopes=("USER_READ",), users=True, own_user="user_id"),
    Route(method="GET", path="/v3/users/{user_id}/{rest...}", scopes=("USER_READ",), users=True, own_user="user_id"),
    Route(method="GET", path="/v2/segment_definitions", open=True),
    Route(method="GET", path="/v2/moment_definitions", open=True),
)
