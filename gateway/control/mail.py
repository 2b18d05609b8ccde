"""Notices by mail: one mail to one person, and what the server's answer means for it."""

import ssl
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.control.letters import Letter
from gateway.core.notices import SENT, NoticeState, Outcome
from gateway.settings.reminders import Smtp

if TYPE_CHECKING:
    import aiosmtplib

_PERMANENT: Final = 500  # RFC 5321 4.2.1: 5yz is for good, 4yz for now


class Mailer:
    """Sends mails over one server. Raises `OSError` when the password or the certificates cannot be read."""

    def __init__(self, settings: Smtp) -> None:
        self._settings = settings
        self._password = None if settings.password_file is None else _secret(settings.password_file)
        self._context = None if settings.ca_file is None else ssl.create_default_context(cafile=str(settings.ca_file))

    async def send(self, to: str, letter: Letter, notice_id: str) -> Outcome:
        """Send a letter, and tell what came of it; the mail's id is made of the notice's, so that a second one, should
        there ever be one, is known as the same.

        Sent is what the server has said 250 to, and nothing else.
        """
        import aiosmtplib  # noqa: PLC0415 - a gateway that sends no mails does not wait for it

        client = self._client(aiosmtplib.SMTP)
        try:
            async with client:
                await client.mail(self._settings.sender)
                await client.rcpt(to)
                await client.data(self._message(to, letter, notice_id))
        except aiosmtplib.SMTPResponseException as error:
            refused = error.code >= _PERMANENT and not isinstance(error, aiosmtplib.SMTPAuthenticationError)
            state = NoticeState.FAILED if refused else NoticeState.WAITING
            return Outcome(state, "refused" if refused else "put_off", error.code)
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
        message = EmailMessage(policy=WIRE)
        message["From"] = self._settings.sender
        message["To"] = to
        message["Subject"] = letter.subject
        message["Message-ID"] = f"<{notice_id}@{self._settings.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday answers it
        message.set_content(letter.text)
        message.add_alternative(letter.html, subtype="html")
        return message.as_bytes()


def _secret(file: Path) -> str:
    return file.read_text("utf-8").strip()
