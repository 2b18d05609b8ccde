"""Routes of SDK users."""

from gateway.control.api.asked import PageQuery
from gateway.control.api.callers import Needs
from gateway.control.api.calls import Answer, Call, Ids, Reply, tagged
from gateway.control.api.models import Page, UserSeen, UserTokenMade, UserTold
from gateway.control.api.routes import Route
from gateway.core.ledger import ActReason, ActRefused, Asked, Changes, Snapshot
from gateway.core.records import User


def _told(user: User) -> UserTold:
    return UserTold(
        id=user.id,
        app=user.app_id,
        disabled=user.disabled,
        deleted=user.deleted,
        tokens_ended_at=None if user.deleted else user.cut_at or None,
    )


def _shown(user: User) -> UserSeen:
    return UserSeen(**dict(_told(user)), external_id=user.external_id)


def _ask(ids: Ids) -> Asked:
    return Asked(ids["app"], user_id=ids["user"], roles=True)


def _user(seen: Snapshot, ids: Ids) -> User:
    """A user of the app, a deleted one too."""
    user = seen.users.get(ids["user"])
    if user is None:
        raise ActRefused(ActReason.UNKNOWN_USER, "The app has no user with this id.")
    return user


def _record(seen: Snapshot, ids: Ids) -> UserSeen:
    return _shown(_user(seen, ids))


def _answer(call: Call) -> Answer:
    # Without the external id: what is answered to a request with an Idempotency-Key is kept for a day.
    return lambda seen, _: _told(_user(seen, call.ids))


async def _list(call: Call) -> Reply:
    return await call.page(call.desk.store.users(call.app_id), lambda user: (user.id,), _shown)


async def _show(call: Call) -> Reply:
    return tagged(_record(call.seen, call.ids))


async def _disable(call: Call) -> Reply:
    return await _switch(call, disabled=True)


async def _enable(call: Call) -> Reply:
    return await _switch(call, disabled=False)


async def _switch(call: Call, *, disabled: bool) -> Reply:
    changed = await call.change(
        lambda errand: call.keeper(errand).switch_user(call.app_id, call.ids["user"], disabled=disabled), _answer(call)
    )
    return changed.reply()


async def _end_tokens(call: Call) -> Reply:
    changed = await call.change(
        lambda errand: call.keeper(errand).end_user_tokens(call.app_id, call.ids["user"]), _answer(call)
    )
    return changed.reply()


async def _token(call: Call) -> Reply:
    def answer(_: Snapshot, changes: Changes) -> UserTokenMade:
        token = next(each for each in changes.tokens if each.revoked_at is None and each.shutdown_at is None)
        return UserTokenMade(
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
    Route("GET", "/apps/{app}/users", "The users of an app.", Needs.SEES, _list, Page[UserSeen], query=PageQuery),
    Route("GET", _USER, "A user.", Needs.SEES, _show, UserSeen, ask=_ask, record=_record),
    Route(
        "POST",
        f"{_USER}/disable",
        "Let none of a user's tokens through.",
        Needs.KEEPS,
        _disable,
        UserTold,
        ask=_ask,
        record=_record,
    ),
    Route(
        "POST",
        f"{_USER}/enable",
        "Let a user's good tokens through again.",
        Needs.KEEPS,
        _enable,
        UserTold,
        ask=_ask,
        record=_record,
    ),
    Route(
        "POST",
        f"{_USER}/end-tokens",
        "End every token that a user has now.",
        Needs.KEEPS,
        _end_tokens,
        UserTold,
        ask=_ask,
        record=_record,
    ),
    Route(
        "POST",
        f"{_USER}/tokens",
        "Make a token for a user; it is shown once.",
        Needs.KEEPS,
        _token,
        UserTokenMade,
        201,
        ask=_ask,
        record=_record,
    ),
    Route(
        "DELETE",
        _USER,
        "End a user for good; a tombstone remains, also of one who was not known here.",
        Needs.KEEPS,
        _delete,
        None,
        204,
        ask=_ask,
        record=_record,
    ),
)
