"""Notices by mail: one mail to one person, and what the server's answer means for it."""

import ssl
from collections.abc import Callable, Coroutine
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.control.letters import Letter
from gateway.core.notices import SENT, NoticeState, Outcome
from gateway.settings.reminders import Smtp

if TYPE_CHECKING:
    import aiosmtplib

_PERMANENT: Final = 500  # RFC 5321 4.2.1: 5yz is for good, 4yz for now
_NOT_LET_IN: Final = (530, 534, 535, 538)  # RFC 4954 6: of who sends, not of what is sent
# RFC 5321 4.5.3.2.6: whoever gives up earlier sends again what the server is about to take.
ANSWER_SECONDS: Final = 600.0
# What goes over the wire is seven bits wide, as not every server has 8BITMIME.
_POLICY: Final = WIRE.clone(cte_type="7bit")
_WORD: Final = "=?"  # what each encoded word begins with: RFC 2047 2
_UNDISCLOSED: Final = "undisclosed-recipients:;"  # RFC 5322 3.4: a group of nobody


class Mailer:
    """Sends mails over one server. Raises `OSError` when the password or the certificates cannot be read.

    `answer_seconds` is how long its word on a whole mail is waited for.
    """

    def __init__(self, settings: Smtp, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._settings = settings
        self._sender = settings.sender or ""  # which is there wherever there is a host
        self._answer_seconds = answer_seconds
        self._password = None if settings.password_file is None else _secret(settings.password_file)
        self._context = None if settings.ca_file is None else ssl.create_default_context(cafile=str(settings.ca_file))

    async def send(self, to: str, letter: Letter, notice_id: str) -> Outcome:
        """Send a letter, and tell what came of it."""
        return await self.prepared(to, letter, notice_id)()

    def prepared(self, to: str, letter: Letter, notice_id: str) -> Callable[[], Coroutine[Any, Any, Outcome]]:
        """What sends a letter and tells what came of it; the mail itself is made at once. Its id is made of the
        notice's, so that a second one, should there ever be one, is known as the same.

        Sent is what the server has said 250 to, and nothing else.
        """
        try:
            return partial(self._sent, to, self._message(to, letter, notice_id))
        except ValueError:  # one mail that cannot be written is not to hold up the others
            return _unwritable

    async def _sent(self, to: str, message: bytes) -> Outcome:
        import aiosmtplib  # noqa: PLC0415 - a gateway that sends no mails does not wait for it

        client, let_in = self._client(aiosmtplib.SMTP), False
        try:
            async with client:
                let_in = True
                await client.mail(self._sender)
                await client.rcpt(to)
                await client.data(message, timeout=self._answer_seconds)
        except aiosmtplib.SMTPResponseException as error:
            # A server that lets nobody in has not refused this mail: its operator has something to mend, or ours.
            if let_in and error.code >= _PERMANENT and error.code not in _NOT_LET_IN:
                return Outcome(NoticeState.FAILED, "refused", error.code)
            return Outcome(NoticeState.WAITING, "put_off", error.code)
        except (aiosmtplib.SMTPTimeoutError, TimeoutError):
            return Outcome(NoticeState.WAITING, "timeout")
        except (aiosmtplib.SMTPException, OSError):
            return Outcome(NoticeState.WAITING, "connection")
        return SENT

    def _client(self, kind: "type[aiosmtplib.SMTP]") -> "aiosmtplib.SMTP":
        settings = self._settings
        return kind(
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=self._password,
            use_tls=settings.tls == "tls",
            start_tls=settings.tls == "starttls",
            tls_context=self._context,
            timeout=settings.timeout,
        )

    def _message(self, to: str, letter: Letter, notice_id: str) -> bytes:
        message = EmailMessage(policy=_POLICY)
        message["From"] = self._sender
        # An address is read like any other header. The server is told it as it is.
        message["To"] = _UNDISCLOSED if _WORD in to else to
        message["Subject"] = _without_words(letter.subject)
        message["Message-ID"] = f"<{notice_id}@{self._sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answers it
        message.set_content(letter.text)
        message.add_alternative(letter.html, subtype="html")
        return message.as_bytes()


def _without_words(text: str) -> str:
    """A text for a header in which nothing is an encoded word: whoever chose a name would have it read as another, and
    what its bytes mean could break the header."""
    return text.replace(_WORD, "= ?")


def _secret(file: Path) -> str:
    return file.read_text("utf-8").strip()


async def _unwritable() -> Outcome:
    return Outcome(NoticeState.FAILED, "unwritable")
