"""The route of what people were told: reminders of ends, and notices of leaks."""

from collections.abc import AsyncIterator

from gateway.control.api import models
from gateway.control.api.asked import PageQuery
from gateway.control.api.callers import Needs
from gateway.control.api.calls import Call, Reply
from gateway.control.api.routes import Route
from gateway.core.ledger import ItemKind
from gateway.core.notices import Notice, notice_of
from gateway.store.contract import StoreBroken


def _told(row: Notice) -> models.Reminder:
    wanted = row.wanted
    return models.Reminder(
        subject=wanted.subject,
        mark=wanted.mark,
        recipient=wanted.recipient,
        channel=wanted.channel,
        state=row.state,
        attempts=row.attempts,
        changed_at=row.changed_at,
        error=row.error,
        code=row.code,
    )


async def _list(call: Call) -> Reply:
    async def found() -> AsyncIterator[Notice]:
        async for item in call.desk.store.items(ItemKind.NOTICE, call.app_id):
            try:
                yield notice_of(item)
            except ValueError as error:
                raise StoreBroken(f"The store is damaged: its item {item.id} cannot be read.") from error

    return await call.page(found(), lambda row: (row.wanted.subject, row.wanted.id), _told)


ROUTES = (
    Route(
        "GET",
        "/apps/{app}/reminders",
        "listReminders",
        "List who was told of the ends of keys and of leaks",
        Needs.SEES,
        _list,
        models.Page[models.Reminder],
        query=PageQuery,
        about="Messages that are still to be sent are listed too.",
    ),
)
