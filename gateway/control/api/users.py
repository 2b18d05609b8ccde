"""Routes of SDK users."""

from collections.abc import Awaitable

from gateway.control.api import models
from gateway.control.api.asked import DisableUser, PageQuery
from gateway.control.api.callers import Needs
from gateway.control.api.calls import Answer, Call, Errand, Ids, Reply, showing
from gateway.control.api.routes import Route
from gateway.core.ledger import ActReason, ActRefused, Asked, Changes, Done, Snapshot
from gateway.core.records import User


def _told(user: User) -> models.User:
    return models.User(
        id=user.id,
        app=user.app_id,
        disabled=user.disabled,
        deleted=user.deleted,
        tokens_ended_at=None if user.deleted else user.cut_at or None,
    )


def _shown(user: User) -> models.UserDetail:
    return models.UserDetail(**dict(_told(user)), external_id=user.external_id)


def _ask(ids: Ids) -> Asked:
    return Asked(ids["app"], user_id=ids["user"], roles=True)


def _user(seen: Snapshot, ids: Ids) -> User:
    """A user of the app, a deleted one too."""
    user = seen.users.get(ids["user"])
    if user is None:
        raise ActRefused(ActReason.UNKNOWN_USER, "The app has no user with this id.")
    return user


def _record(seen: Snapshot, ids: Ids) -> models.UserDetail:
    return _shown(_user(seen, ids))


def _answer(call: Call) -> Answer:
    # Without the external id: what is answered to a request with an Idempotency-Key is kept for a day.
    return lambda seen, _: _told(_user(seen, call.ids))


async def _list(call: Call) -> Reply:
    return await call.page(call.desk.store.users(call.app_id), lambda user: (user.id,), _shown)


async def _disable(call: Call) -> Reply:
    asked: DisableUser = call.body
    return await _switch(call, disabled=True, unknown_too=asked.unknown)


async def _enable(call: Call) -> Reply:
    return await _switch(call, disabled=False, unknown_too=False)


async def _switch(call: Call, *, disabled: bool, unknown_too: bool) -> Reply:
    def switch(errand: Errand) -> Awaitable[Done]:
        user_id = call.ids["user"]
        return call.keeper(errand).switch_user(call.app_id, user_id, disabled=disabled, unknown_too=unknown_too)

    return (await call.change(switch, _answer(call))).reply()


async def _end_tokens(call: Call) -> Reply:
    changed = await call.change(
        lambda errand: call.keeper(errand).end_user_tokens(call.app_id, call.ids["user"]), _answer(call)
    )
    return changed.reply()


async def _token(call: Call) -> Reply:
    def answer(_: Snapshot, changes: Changes) -> models.IssuedUserToken:
        token = next(each for each in changes.tokens if each.revoked_at is None and each.shutdown_at is None)
        return models.IssuedUserToken(
            id=token.id, app=token.app_id, user=token.user_id, created_at=token.created_at, expires_at=token.expires_at
        )

    changed = await call.change(
        lambda errand: call.keeper(errand).add_user_token(call.app_id, call.ids["user"]), answer
    )
    return changed.disclosing(lambda made: made.token)


async def _delete(call: Call) -> Reply:
    await call.change(lambda errand: call.keeper(errand).delete_user(call.app_id, call.ids["user"]), _answer(call))
    return Reply()


_USER = "/apps/{app}/users/{user}"

ROUTES = (
    Route(
        "GET",
        "/apps/{app}/users",
        "listUsers",
        "List the users of an app",
        Needs.SEES,
        _list,
        models.Page[models.UserDetail],
        query=PageQuery,
        about="Of deleted users only the id remains.",
    ),
    Route(
        "GET", _USER, "getUser", "Get a user", Needs.SEES, showing(_record), models.UserDetail, ask=_ask, record=_record
    ),
    Route(
        "POST",
        f"{_USER}/disable",
        "disableUser",
        "Disable a user",
        Needs.KEEPS,
        _disable,
        models.User,
        body=DisableUser,
        body_wanted=False,
        ask=_ask,
        record=_record,
        about="From the next request on, none of the user's tokens is let through. With `unknown` this works for users,"
        " too, whom only another issuer's tokens name.",
    ),
    Route(
        "POST",
        f"{_USER}/enable",
        "enableUser",
        "Enable a user",
        Needs.KEEPS,
        _enable,
        models.User,
        ask=_ask,
        record=_record,
        about="The user's tokens are let through again, unless they have ended meanwhile.",
    ),
    Route(
        "POST",
        f"{_USER}/end-tokens",
        "endUserTokens",
        "End all tokens of a user",
        Needs.KEEPS,
        _end_tokens,
        models.User,
        ask=_ask,
        record=_record,
        about="Every token that the user has now ends. New ones can be made.",
    ),
    Route(
        "POST",
        f"{_USER}/tokens",
        "createUserToken",
        "Create a token for a user",
        Needs.KEEPS,
        _token,
        models.IssuedUserToken,
        201,
        ask=_ask,
        record=_record,
        about="The token is in this answer alone.",
    ),
    Route(
        "DELETE",
        _USER,
        "deleteUser",
        "Delete a user",
        Needs.KEEPS,
        _delete,
        None,
        204,
        ask=_ask,
        record=_record,
        about="All tokens end, and the id is never used again. This works for users who are not known here, too: other"
        " issuers' tokens may name them.",
    ),
)
