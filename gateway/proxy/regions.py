"""Which region serves a request: the one where its app lives, whatever host it came to."""

from collections.abc import Mapping, Sequence

from gateway.core.decision import Reason, Unavailable, refuse
from gateway.proxy.upstream import Region


class Regions:
    """The regions of one configuration, by name and by the hosts that clients reach them by."""

    __slots__ = ("_by_name", "_default", "_hosts", "_named", "_refuse_wrong")

    def __init__(
        self,
        by_name: Mapping[str, Region],
        hosts: Mapping[str, Sequence[str]],
        default: str,
        *,
        refuse_wrong: bool = False,
    ) -> None:
        self._by_name = by_name
        self._hosts = {host: name for name, names in hosts.items() for host in names}
        self._named = hosts
        self._default = default
        self._refuse_wrong = refuse_wrong

    def serving(self, home: str | None, host: bytes | None) -> Region:
        """The region of an app that lives in `home`; without an app, that of the Host, or the default.

        Raises `Refused` where the host is another region's and that is to be refused, `Unavailable` for a region that
        is not served here. An app's data never goes to another region.
        """
        if home is None:
            home = self._asked(host) or self._default
        elif self._refuse_wrong and self._asked(host) not in (None, home) and self._named.get(home):
            raise refuse(Reason.WRONG_REGION, f"Send this to {self._named[home][0]}.")
        region = self._by_name.get(home)
        if region is None:
            raise Unavailable(Reason.REGION_UNAVAILABLE, retry_after=60)
        return region

    def elsewhere(self, home: str, host: bytes | None) -> bool:
        """Whether the host is one of another region than `home`, or that region is not served here."""
        return home not in self._by_name or self._asked(host) not in (None, home)

    def _asked(self, host: bytes | None) -> str | None:
        return None if host is None else self._hosts.get(_name(host))


def _name(host: bytes) -> str:
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0].rstrip(".")
