"""Which region serves a request."""

import pytest

from gateway.core.decision import Reason, Refused, Unavailable
from gateway.proxy.regions import Regions
from gateway.proxy.upstream import Region

NAMES = {"eu": ["eu.example.com", "127.0.0.1"], "us": ["us.example.com", "[::1]"], "in": []}


def regions(*, refuse: bool) -> Regions:
    """Two regions that are served, and one that only has a name."""
    return Regions({name: Region(name, ["nothing"]) for name in ("eu", "us")}, NAMES, "eu", refuse_wrong=refuse)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        (b"us.example.com", "us"),
        (b"US.Example.COM", "us"),
        (b"us.example.com:8080", "us"),
        (b"[::1]", "us"),
        (b"[::1]:8080", "us"),
        (b"us.example.com.", "us"),
        (b"us.example.com.:80", "us"),
        (b"127.0.0.1:80", "eu"),
        (b"www.us.example.com", "eu"),
        (b"us.example.com.evil.com", "eu"),
        (b"", "eu"),
        (b"\xff", "eu"),
        (None, "eu"),
    ],
)
def test_without_an_app(host: bytes | None, region: str) -> None:
    """An open route would be answered by another region than the one that was asked."""
    for refuse in (False, True):
        assert regions(refuse=refuse).serving(None, host).name == region


@pytest.mark.parametrize("host", [b"us.example.com", b"[::1]", b"US.example.com:1"])
def test_the_host_of_another_region(host: bytes) -> None:
    """A client that asks the wrong region would be sent nowhere, or its data to that region."""
    assert regions(refuse=False).serving("eu", host).name == "eu"
    with pytest.raises(Refused) as refused:
        regions(refuse=True).serving("eu", host)
    (finding,) = refused.value.deny.findings
    assert (finding.reason, finding.detail) == (Reason.WRONG_REGION, "Send this to eu.example.com.")


@pytest.mark.parametrize("host", [b"eu.example.com", b"unknown.example.com", None])
def test_any_other_host(host: bytes | None) -> None:
    """A health check by address, or a new name, would be refused."""
    assert regions(refuse=True).serving("eu", host).name == "eu"


@pytest.mark.parametrize("refuse", [False, True])
@pytest.mark.parametrize("host", [b"us.example.com", b"eu.example.com", None])
@pytest.mark.parametrize("home", ["in", "nowhere"])
def test_a_region_that_is_not_served(home: str, host: bytes | None, refuse: bool) -> None:
    """The data of an app would go to a region that happens to be there."""
    with pytest.raises(Unavailable) as unavailable:
        regions(refuse=refuse).serving(home, host)
    assert unavailable.value.reason is Reason.REGION_UNAVAILABLE
    assert unavailable.value.retry_after
