"""All routes of the API."""

from gateway.control.api import advice, apps, developers, history, incidents, keys, reminders, users

ROWS = (
    *apps.ROUTES,
    *keys.ROUTES,
    *advice.ROUTES,
    *users.ROUTES,
    *developers.ROUTES,
    *incidents.ROUTES,
    *reminders.ROUTES,
    *history.ROUTES,
)
