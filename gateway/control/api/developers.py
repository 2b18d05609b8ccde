"""Routes of developers and of their tokens."""

from collections.abc import Awaitable

from gateway.control.api import models
from gateway.control.api.asked import GrantRole, NewDeveloperToken, PageQuery, TokensQuery
from gateway.control.api.callers import Needs, role_missing
from gateway.control.api.calls import Call, Errand, Reply
from gateway.control.api.keys import key_told
from gateway.control.api.problems import Code, Problem, impossible
from gateway.control.api.routes import Route
from gateway.core.developer_tokens import LIFETIME, DeveloperToken, item_key, keys_shown, token_from
from gateway.core.ledger import ActReason, ActRefused, Changes, ItemKind, Snapshot
from gateway.core.people import developer_id
from gateway.core.records import Developer, Role
from gateway.core.wishes import normal_email
from gateway.keys.developer_tokens import IssuedToken


def _seen(developer: Developer) -> models.DeveloperDetail:
    return models.DeveloperDetail(
        id=developer_id(developer.email), app=developer.app_id, role=developer.role, email=developer.email
    )


async def _list(call: Call) -> Reply:
    return await call.page(call.desk.store.developers(call.app_id), lambda each: (each.email,), _seen)


async def _grant(call: Call) -> Reply:
    asked: GrantRole = call.body
    granted = models.Developer(id=developer_id(normal_email(asked.email)), app=call.app_id, role=Role(asked.role))
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

    last_used = await call.desk.store.last_used([key.id for key in keys_shown(call.seen, wanted)])

    def answer(seen: Snapshot, _: Changes) -> models.RemovedDeveloper:
        to_rotate = [key_told(key, seen.now, last_used.get(key.id)) for key in keys_shown(seen, wanted)]
        return models.RemovedDeveloper(id=wanted, app=call.app_id, keys_to_rotate=to_rotate)

    changed = await call.change(lambda errand: call.keeper(errand).remove(call.app_id, email), answer)
    return changed.reply()


# Tokens


def _token_told(token: DeveloperToken) -> models.DeveloperToken:
    return models.DeveloperToken(
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
    asked: NewDeveloperToken = call.body
    lifetime = LIFETIME if asked.lifetime_seconds is None else asked.lifetime_seconds * 1000
    person = call.caller.person
    if person is not None and asked.email is not None:
        raise role_missing()
    if person is None and asked.email is None:
        raise impossible([("body/email", "is required: say whose token it is to be")])

    def answer(_: Snapshot, changes: Changes) -> models.IssuedDeveloperToken:
        item = next(item for item in changes.items if item.kind is ItemKind.DEVELOPER_TOKEN)
        return models.IssuedDeveloperToken(**dict(_token_told(token_from(item))))

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
            return impossible([("body/email", "belongs to nobody who has a role in an app")])
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
        "listDevelopers",
        "List who has a role in an app",
        Needs.SEES,
        _list,
        models.Page[models.DeveloperDetail],
        query=PageQuery,
    ),
    Route(
        "POST",
        "/apps/{app}/developers",
        "grantRole",
        "Give a person a role in an app",
        Needs.RUNS,
        _grant,
        models.Developer,
        body=GrantRole,
        about="It takes the place of the role that the person had before.",
    ),
    Route(
        "DELETE",
        "/apps/{app}/developers/{developer}",
        "removeDeveloper",
        "Take a person's role in an app",
        Needs.RUNS,
        _remove,
        models.RemovedDeveloper,
        about="The answer lists the keys to rotate: those whose tokens this person was shown.",
    ),
    Route(
        "GET",
        "/developer-tokens",
        "listDeveloperTokens",
        "List tokens for this API",
        Needs.ANYBODY,
        _list_tokens,
        models.Page[models.DeveloperToken],
        query=TokensQuery,
        about="Your own; everybody's for an operator.",
    ),
    Route(
        "POST",
        "/developer-tokens",
        "createDeveloperToken",
        "Create a token for this API",
        Needs.ANYBODY,
        _issue,
        models.IssuedDeveloperToken,
        201,
        NewDeveloperToken,
        about="Another one for yourself; for an operator, one for the developer whom `email` names. The token is in"
        " this answer alone.",
    ),
    Route(
        "POST",
        "/developer-tokens/{token}/revoke",
        "revokeDeveloperToken",
        "Revoke a token for this API",
        Needs.ANYBODY,
        _revoke,
        models.DeveloperToken,
        about="And all that descend from it. One of your own; anybody's for an operator.",
    ),
)
