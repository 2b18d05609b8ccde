"""All routes of the API."""

from gateway.control.api import apps, developers, history, incidents, keys, users

ROWS = (*apps.ROUTES, *keys.ROUTES, *users.ROUTES, *developers.ROUTES, *incidents.ROUTES, *history.ROUTES)
