"""The forms that a store's URL may have. What opens one is `gateway/store/open.py`."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator

from gateway.settings.kinds import HOST_NAME

_PLACE: Final = rf"(?i:{HOST_NAME}|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?"
_PLACES: Final = rf"{_PLACE}(?:,{_PLACE})*"
_NUMBER: Final = "(?:/[0-9]{1,5})?"
_FORMS: Final = (
    re.compile("memory:"),
    re.compile("sqlite:///.*[^/]"),
    re.compile(rf"rediss?://{_PLACE}{_NUMBER}/?"),
    re.compile(rf"rediss?\+sentinel://{_PLACES}/[A-Za-z0-9._-]+{_NUMBER}/?"),
    re.compile(rf"rediss?\+cluster://{_PLACES}/?"),
)
_PORT: Final = re.compile(r":([0-9]+)(?=[,/]|\Z)")


def _store_url(text: str) -> str:
    if text.startswith("redis"):
        # Said first: whoever put a password there is to take it away, not to mend the rest.
        if "@" in text:
            raise ValueError(
                "must not hold a user name or a password, which logs and lists of processes would show: give them by"
                " store.username and store.password_file"
            )
        if any(int(port) not in range(1, 65536) for port in _PORT.findall(text)):
            raise ValueError("must name ports from 1 to 65535")
    if not any(form.fullmatch(text) for form in _FORMS):
        raise ValueError(
            "must be sqlite:///relative/path, sqlite:////absolute/path, memory:, redis://host:port,"
            " redis+sentinel://host:port,host:port/name or redis+cluster://host:port,host:port (rediss with TLS)"
        )
    return text


def in_redis(url: str) -> bool:
    """Whether a URL that has been checked names a store in Redis."""
    return url.startswith("redis")


StoreUrl = Annotated[str, AfterValidator(_store_url)]
