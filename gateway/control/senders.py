"""The channels notices go out by: the mail server and the webhooks of the settings."""

from dataclasses import dataclass

from gateway.control.mail import Mailer
from gateway.control.webhooks import SecretInvalid, WebhookSender
from gateway.settings.reminders import Reminders


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook, and the apps that it is for; all, where none are named."""

    name: str
    sender: WebhookSender
    apps: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Senders:
    """The channels notices go out by (mail server, webhooks). With none configured nobody is notified."""

    mailer: Mailer | None = None
    hooks: tuple[Hook, ...] = ()

    def __bool__(self) -> bool:
        return self.mailer is not None or bool(self.hooks)


class SendersFaulty(Exception):
    """Some of the files that the settings name cannot be used; the message names them all."""


def senders_from(settings: Reminders) -> Senders:
    """The channels that the settings describe. Raises `SendersFaulty`."""
    faults: list[str] = []
    mailer, hooks = None, []
    if settings.smtp.host is not None:
        try:
            mailer = Mailer(settings.smtp)
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"reminders.smtp: {_named(error)}")
    for name, webhook in settings.webhooks.items():
        try:
            sender = WebhookSender(webhook)
        except SecretInvalid as error:
            faults.append(f"reminders.webhooks.{name}: {webhook.secret_file}: {error}.")
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"reminders.webhooks.{name}: {_named(error)}")
        else:
            hooks.append(Hook(name, sender, None if webhook.apps is None else frozenset(webhook.apps)))
    if faults:
        raise SendersFaulty("\n".join(faults))
    return Senders(mailer, tuple(hooks))


def _named(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "the file is not text."
    return f"{error.filename or 'a file of certificates'}: {error.strerror or error}."
