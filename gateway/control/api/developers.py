"""Routes of developers and of their tokens."""

from collections.abc import Awaitable

from gateway.control.api.asked import GrantAsked, PageQuery, TokenAsked, TokensQuery
from gateway.control.api.callers import Needs, role_missing
from gateway.control.api.calls import Call, Errand, Reply
from gateway.control.api.keys import key_told
from gateway.control.api.models import (
    DeveloperRemoved,
    DeveloperSeen,
    DeveloperTokenMade,
    DeveloperTokenTold,
    DeveloperTold,
    Page,
)
from gateway.control.api.problems import Code, Problem, impossible
from gateway.control.api.routes import Route
from gateway.core.developer_tokens import LIFETIME, DeveloperToken, item_key, keys_shown, token_from
from gateway.core.ledger import ActReason, ActRefused, Changes, ItemKind, Snapshot
from gateway.core.people import developer_id
from gateway.core.records import Developer, Role
from gateway.core.wishes import normal_email
from gateway.keys.developer_tokens import IssuedToken


def _seen(developer: Developer) -> DeveloperSeen:
    return DeveloperSeen(
        id=developer_id(developer.email), app=developer.app_id, role=developer.role, email=developer.email
    )


async def _list(call: Call) -> Reply:
    return await call.page(call.desk.store.developers(call.app_id), lambda each: (each.email,), _seen)


async def _grant(call: Call) -> Reply:
    asked: GrantAsked = call.body
    granted = DeveloperTold(id=developer_id(normal_email(asked.email)), app=call.app_id, role=Role(asked.role))
    changed = await call.change(
        lambda errand: call.keeper(errand).grant(call.app_id, asked.email, granted.role),
        lambda _seen, _changes: granted,  # without the address: a repeat's answer is kept, and addresses are not
    )
    return changed.reply()


async def _remove(call: Call) -> Reply:
    wanted = call.ids["developer"]
    email = next((email for email in call.seen.roles if developer_id(email) == wanted), None)
    if email is None:
        raise ActRefused(ActReason.UNKNOWN_DEVELOPER, "Nobody of this id has a role in the app.")

    def answer(seen: Snapshot, _: Changes) -> DeveloperRemoved:
        shown = [key_told(key, seen.now) for key in keys_shown(seen, wanted)]
        return DeveloperRemoved(id=wanted, app=call.app_id, shown=shown)

    changed = await call.change(lambda errand: call.keeper(errand).remove(call.app_id, email), answer)
    return changed.reply()


# Tokens


def _token_told(token: DeveloperToken) -> DeveloperTokenTold:
    return DeveloperTokenTold(
        id=token.id,
        developer=token.developer,
        created_at=token.created_at,
        created_by=token.created_by,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
    )


async def _list_tokens(call: Call) -> Reply:
    query: TokensQuery = call.query
    person = call.caller.person
    tokens = call.token_desk().all_of(None if person is None else person.id)
    found = (token async for token in tokens if query.developer in {None, token.developer})
    return await call.page(found, lambda token: (token.created_at, token.id), _token_told)


async def _issue(call: Call) -> Reply:
    asked: TokenAsked = call.body
    lifetime = LIFETIME if asked.lifetime_seconds is None else asked.lifetime_seconds * 1000
    person = call.caller.person
    if person is not None and asked.email is not None:
        raise role_missing()
    if person is None and asked.email is None:
        raise impossible([("body/email", "Say whose token it is to be.")])

    def answer(_: Snapshot, changes: Changes) -> DeveloperTokenMade:
        item = next(item for item in changes.items if item.kind is ItemKind.DEVELOPER_TOKEN)
        return DeveloperTokenMade(**dict(_token_told(token_from(item))))

    def issue(errand: Errand) -> Awaitable[IssuedToken]:
        desk = call.token_desk(errand)
        if person is None:
            return desk.issue_to(asked.email or "", lifetime)
        return desk.renew(person, lifetime, call.caller.token_id)

    try:
        return (await call.change(issue, answer, claims=person is None)).disclosing(lambda made: made.token)
    except ActRefused as refused:
        raise _refusal(refused, by_operator=person is None) from None


def _refusal(refused: ActRefused, *, by_operator: bool) -> Exception:
    """How it is told that no token was issued."""
    match refused.reason:
        case ActReason.UNKNOWN_DEVELOPER if by_operator:
            return impossible([("body/email", "Nobody with this address has a role in any app.")])
        case ActReason.UNKNOWN_DEVELOPER:
            return role_missing()
        case ActReason.TOKEN_INVALID:  # it ended since the caller was let in
            return Problem(Code.UNAUTHENTICATED)
        case ActReason.TOO_MANY_TOKENS:
            return Problem(Code.CONFLICT, refused.message)
        case _:
            return refused


async def _revoke(call: Call) -> Reply:
    token_id, person = call.ids["token"], call.caller.person
    token = await call.token_desk().find(token_id)
    if token is None or (person is not None and token.owner != person.id):
        raise ActRefused(ActReason.UNKNOWN_TOKEN, "There is no such token.")
    changed = await call.change(
        lambda errand: call.token_desk(errand).revoke(token_id),
        lambda seen, _: _token_told(token_from(seen.items[item_key(token_id)])),
    )
    return changed.reply()


ROUTES = (
    Route(
        "GET",
        "/apps/{app}/developers",
        "Who has a role in an app.",
        Needs.SEES,
        _list,
        Page[DeveloperSeen],
        query=PageQuery,
    ),
    Route(
        "POST",
        "/apps/{app}/developers",
        "Give a person a role in an app, instead of the one before. Operators only.",
        Needs.RUNS,
        _grant,
        DeveloperTold,
        body=GrantAsked,
    ),
    Route(
        "DELETE",
        "/apps/{app}/developers/{developer}",
        "Take a person's role; tells which keys that person was shown. Operators only.",
        Needs.RUNS,
        _remove,
        DeveloperRemoved,
    ),
    Route(
        "GET",
        "/developer-tokens",
        "Your own tokens for this API; for operators, everybody's.",
        Needs.ANYBODY,
        _list_tokens,
        Page[DeveloperTokenTold],
        query=TokensQuery,
    ),
    Route(
        "POST",
        "/developer-tokens",
        "Make another token for yourself, or as an operator for a developer; it is shown once.",
        Needs.ANYBODY,
        _issue,
        DeveloperTokenMade,
        201,
        TokenAsked,
    ),
    Route(
        "POST",
        "/developer-tokens/{token}/revoke",
        "End a token, and all that descend from it.",
        Needs.ANYBODY,
        _revoke,
        DeveloperTokenTold,
    ),
)
