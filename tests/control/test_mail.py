"""Mails over a real server: what it says decides what comes of a notice."""

import asyncio
from email.message import EmailMessage

import pytest

from gateway.control.letters import Letter, leak, reminder, trial
from gateway.control.mail import Mailer
from gateway.core.incidents import Incident, IncidentState, Subject
from gateway.core.notices import SENT, Mark, NoticeState, Outcome
from gateway.core.records import App, KeyRecord
from gateway.core.sightings import Sighting
from gateway.core.wishes import DAY
from gateway.settings.reminders import Smtp
from tests.support.smtp_server import Sink, smtp_server

TO = "ann@example.com"
NOW = 1_700_000_000_000
APP = App("5a0000000000000000000a01", "demo", "eu")


def mailer_to(sink: Sink, *, timeout: float = 20.0, answer_seconds: float = 20.0) -> Mailer:
    """Sends to that server."""
    smtp = Smtp(host="127.0.0.1", port=sink.port, tls="none", sender="gateway@example.com", timeout=timeout)
    return Mailer(smtp, answer_seconds=answer_seconds)


def a_key(name: str) -> KeyRecord:
    """A key of that name."""
    return KeyRecord("5a00000000000001", APP.id, name, frozenset({"X"}), bytes(32), NOW - 300 * DAY, NOW + 7 * DAY)


def an_incident(*places: str, **changed: object) -> Incident:
    """An incident of a key that was seen there."""
    told: dict[str, object] = {
        "subject": Subject.KEY,
        "proven": True,
        "ended": True,
        "last_used_at": NOW - DAY,
        **changed,
    }
    return Incident(
        id="5ainc0",
        app_id=APP.id,
        subject_id="5a00000000000001",
        opened_at=NOW,
        state=IncidentState.OPEN,
        reporter="reporter:github",
        sightings=tuple(Sighting(url=place) for place in places),
        count=len(places),
        requests=(0,) * 8,
        changed_at=NOW,
        changed_by="reporter:github",
        **told,  # type: ignore[arg-type]
    )


def body_of(mail: EmailMessage, kind: str) -> str:
    """One of a mail's two texts."""
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


async def test_a_mail_arrives_whole() -> None:
    """People would not know which key ends, when, and what to do about it."""
    async with smtp_server() as sink:
        letter = reminder(Mark.ONE_WEEK, APP, a_key("nightly export"), NOW)
        assert await mailer_to(sink).send(TO, letter, "5anotice") == SENT
        (mail,) = sink.mails[TO]
        assert mail["From"] == "gateway@example.com"
        assert mail["To"] == TO
        assert mail["Subject"] == 'API key "nightly export" of demo ends in 7 days'
        assert mail["Message-ID"] == "<5anotice@example.com>"
        for kind in ("plain", "html"):
            assert "gateway keys rotate 5a00000000000001" in body_of(mail, kind)
            assert "2023-11-21T22:13:20.000Z" in body_of(mail, kind)


@pytest.mark.parametrize(
    ("plan", "outcome"),
    [
        ("451 4.7.1 later", Outcome(NoticeState.WAITING, "put_off", 451)),
        ("550 5.1.1 nobody", Outcome(NoticeState.FAILED, "refused", 550)),
        ("data 452 4.3.1 full", Outcome(NoticeState.WAITING, "put_off", 452)),
        ("data 554 5.7.1 no", Outcome(NoticeState.FAILED, "refused", 554)),
        ("drop", Outcome(NoticeState.WAITING, "connection")),
        ("silence", Outcome(NoticeState.WAITING, "timeout")),
    ],
)
async def test_what_the_server_says_is_what_comes_of_it(plan: str, outcome: Outcome) -> None:
    """A mail that was refused for good would be tried for weeks, or one that was put off be given up."""
    async with smtp_server() as sink:
        sink.plans[TO] = [plan]
        mailer = mailer_to(sink, answer_seconds=0.3 if plan == "silence" else 20.0)
        assert await mailer.send(TO, trial(NOW), "5a") == outcome
        assert sink.mails[TO] == []
        assert await mailer.send(TO, trial(NOW), "5a") == SENT


async def test_a_server_that_is_not_there() -> None:
    """A gateway would stop, or give a mail up, as its mail server is restarted."""
    async with smtp_server() as sink:
        mailer = mailer_to(sink)
    assert await mailer.send(TO, trial(NOW), "5a") == Outcome(NoticeState.WAITING, "connection")


async def test_a_server_that_lets_nobody_in() -> None:
    """All mails of a night would be given up, as the server was closed for an hour or the password had changed."""

    async def close_the_door(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 5.3.2 closed\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(close_the_door, "127.0.0.1", 0)
    async with server:
        sink = Sink(port=server.sockets[0].getsockname()[1])
        assert await mailer_to(sink).send(TO, trial(NOW), "5a") == Outcome(NoticeState.WAITING, "put_off", 554)
    async with smtp_server() as sink:
        sink.plans[TO] = ["530 5.7.0 who are you"]
        assert await mailer_to(sink).send(TO, trial(NOW), "5a") == Outcome(NoticeState.WAITING, "put_off", 530)


@pytest.mark.parametrize(
    "name",
    [
        "=?utf-8?q?paid=0D=0ABcc:_eve@example.com?=",
        "=?utf-8?b?cGFpZA==?=",
        "=?x?y?z?=",
        "==??=",
        "é =?utf-8?q?paid?= é",
    ],
)
async def test_a_name_is_never_decoded(name: str) -> None:
    """A name would be read as another than it is, or no mail about the key be sent."""
    async with smtp_server() as sink:
        for letter in (
            reminder(Mark.ONE_WEEK, APP, a_key(name), NOW),
            leak(App(APP.id, name, "eu"), an_incident(name), name),
        ):
            assert await mailer_to(sink).send(TO, letter, "5a") == SENT
            mail = sink.mails[TO].pop()
            assert mail["Subject"].strip() == letter.subject.replace("=?", "= ?")
            assert mail["Bcc"] is None
            assert name in body_of(mail, "plain")


@pytest.mark.parametrize("to", ["=?utf-8?q?eve?=@example.com", "=?utf-8?q?=0D=0ABcc=3A=20eve?=@example.com"])
async def test_an_address_is_never_decoded(to: str) -> None:
    """An address that was kept before such ones were refused would be shown as another, or stop the mails."""
    async with smtp_server() as sink:
        assert await mailer_to(sink).send(to, trial(NOW), "5a") == SENT
        ((mail,),) = sink.mails.values()  # the server of this test decodes what it is told
        assert mail["To"] == "undisclosed-recipients:;"
        assert mail["Bcc"] is None


async def test_a_mail_that_cannot_be_written() -> None:
    """One notice that is at fault would end the telling of all others."""
    async with smtp_server() as sink:
        letter = Letter("a\nb", (), "trial", {})
        assert await mailer_to(sink).send(TO, letter, "5a") == Outcome(NoticeState.FAILED, "unwritable")
        letter = Letter("a", ("\ud800",), "trial", {})
        assert await mailer_to(sink).send(TO, letter, "5a") == Outcome(NoticeState.FAILED, "unwritable")
        assert sink.mails == {}


NAMES = ['x"\r\nBcc: eve@example.com', "<b>bold</b>", "a\u2028b\u202ec", "https://evil.example/?a=1&b=2", "株式会社 🦜"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["key", "app", "place"])
async def test_names_are_only_text(name: str, kind: str) -> None:
    """Somebody who may name a key could add a recipient, markup or a link to the mails of others."""
    app = App(APP.id, name, "eu") if kind == "app" else APP
    letter: Letter = reminder(Mark.ONE_WEEK, app, a_key(name), NOW)
    if kind == "place":
        letter = leak(APP, an_incident(name), "a key")
    async with smtp_server() as sink:
        assert await mailer_to(sink).send(TO, letter, "5a") == SENT
        assert list(sink.mails) == [TO]
        (mail,) = sink.mails[TO]
        assert mail["Bcc"] is None
        assert mail["To"] == TO
        text, markup = body_of(mail, "plain"), body_of(mail, "html")
        assert "<b>" not in markup
        assert "://" not in text + markup
        assert "\u202e" not in text + markup
        assert "\u2028" not in text + markup
        assert "\r\nBcc" not in text.replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, "It was ended at once"),
        ({"ended": False}, "It had ended before"),
        ({"ended": False, "proven": False}, "it goes on working"),
        ({"last_used_at": None}, "Last used before that: unknown."),
    ],
)
def test_a_leak_is_told_as_it_is(changed: dict[str, object], sentence: str) -> None:
    """People would hurry where all is done, or rest where a key still works."""
    letter = leak(APP, an_incident("https://a.example/x", **changed), "nightly")
    assert sentence in letter.text
    assert "https[:]//a.example/x" in letter.text
    assert letter.data["ended"] is changed.get("ended", True)


def test_a_leak_of_a_user_token() -> None:
    """People would look for a key."""
    letter = leak(APP, an_incident(subject=Subject.USER_TOKEN), "")
    assert "user token 5a00000000000001" in letter.text
    assert "Where it was seen was not told." in letter.text
