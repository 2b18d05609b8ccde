"""Who is told of keys that end and of leaks, and how: by mail, by webhooks."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from gateway.settings.kinds import HOST_NAME, AppIds, Networks, Seconds, Section

_HOST: Final = re.compile(rf"(?i:{HOST_NAME})|[0-9a-f:.]+")
_URL: Final = re.compile(rf"https://(?:(?i:{HOST_NAME})|\[[0-9a-f:.]+\])(?::[0-9]{{1,5}})?(?:/[!-~]*)?")
_ADDRESS: Final = re.compile(rf"[A-Za-z0-9._+-]{{1,64}}@(?i:{HOST_NAME})")
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


def _host(text: str) -> str:
    if _HOST.fullmatch(text) is None:
        raise ValueError("must be a host name or an address")
    return text


def _sender(text: str) -> str:
    if _ADDRESS.fullmatch(text) is None:
        raise ValueError("must be an e-mail address like gateway@example.com")
    return text


def _url(text: str) -> str:
    if _URL.fullmatch(text) is None or "@" in text or "#" in text:
        raise ValueError("must be an https URL, without a user, a password or a fragment")
    return text


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise ValueError("must be small letters, digits and -, a letter first")
    return text


WebhookName = Annotated[str, AfterValidator(_name)]


class Smtp(Section):
    """The server that takes mails; without a host no mails are sent."""

    host: Annotated[str, AfterValidator(_host)] | None = Field(default=None, description="The server that takes mails.")
    port: Annotated[int, Field(strict=True, ge=1, le=65_535)] = Field(default=587, description="Its port.")
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="`starttls` on port 587, `tls` from the first byte on 465, `none` on loopback."
    )
    sender: Annotated[str, AfterValidator(_sender)] | None = Field(
        default=None, validate_default=True, description="The address that mails come from; needed with `host`."
    )
    username: str | None = Field(default=None, description="The user to log in as.")
    password_file: Path | None = Field(
        default=None, validate_default=True, description="A file with that user's password."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) that vouch for the server, instead of the system's."
    )
    # RFC 5321 4.5.3.2 allows servers ten minutes; two mails of a gateway must not wait for each other that long.
    timeout: Seconds = Field(default=20.0, description="How long one step of a mail may take.")

    @field_validator("sender")
    @classmethod
    def _goes_with_a_server(cls, sender: str | None, info: ValidationInfo) -> str | None:
        if sender is None and info.data.get("host") is not None:
            raise ValueError("is needed beside reminders.smtp.host")
        return sender

    @field_validator("password_file")
    @classmethod
    def _has_a_user(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if (file is None) != (info.data.get("username") is None):
            raise ValueError("goes with reminders.smtp.username, and neither without the other")
        if file is not None and info.data.get("tls") == "none":
            raise ValueError("would be sent for everybody to read: reminders.smtp.tls is none")
        return file


class Webhook(Section):
    """A receiver of notices, as Standard Webhooks describe it. The name is what lists and the log call it."""

    url: Annotated[str, AfterValidator(_url)] = Field(description="Where notices are posted to; https only.")
    secret_file: Path = Field(description="A file with the secret that signs them: `whsec_` and base64.")
    apps: AppIds | None = Field(default=None, description="The apps whose notices it gets; all, if not given.")
    allow_networks: Networks = Field(
        default=(), description="Networks that are not public and may be connected to all the same, as 10.1.0.0/16."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) that vouch for the receiver, instead of the system's."
    )


class Reminders(Section):
    """Notices to the developers of an app: two weeks and one week before a key ends, and when one has leaked."""

    smtp: Smtp = Smtp()
    webhooks: Mapping[WebhookName, Webhook] = Field(
        default={}, description="Receivers beside the mails, each under a name."
    )
    recipients: Literal["account", "app"] = Field(
        default="account",
        description="Who is told of a key that ends: the developers of every app of its app's account, or of its app.",
    )
    every: Seconds = Field(default=600.0, description="How often it is looked which keys end, in seconds.")
