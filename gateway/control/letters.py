"""What notices say, to people as text and HTML, to programs as JSON. Names and places that others chose are never
markup, never a header, never a link."""

import html
from dataclasses import dataclass
from typing import Final

from gateway.core.incidents import Incident, Subject
from gateway.core.notices import Mark
from gateway.core.records import App, KeyRecord
from gateway.core.times import iso_time
from gateway.core.wishes import DAY

_PLACES: Final = 5  # sightings that a mail names; the incident has them all


@dataclass(frozen=True, slots=True)
class Letter:
    """One notice: `subject` is one line, `lines` are paragraphs, `event` and `data` what a program is told."""

    subject: str
    lines: tuple[str, ...]
    event: str
    data: dict[str, object]

    @property
    def text(self) -> str:
        """For people, plain."""
        return "\n\n".join(self.lines) + "\n"

    @property
    def html(self) -> str:
        """For people, as HTML."""
        paragraphs = "\n".join(f"<p>{html.escape(line)}</p>" for line in self.lines)
        return f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><body>\n{paragraphs}\n</body></html>\n'


def reminder(mark: Mark, app: App, key: KeyRecord, now: int) -> Letter:
    """That a key ends soon, and what to do."""
    days = max(1, round((key.expires_at - now) / DAY))
    left = f"in {days} days" if days > 1 else "tomorrow"
    name, app_name = _plain(key.name), _plain(app.name)
    told = (
        f'The API key "{name}" ({key.id}) of the app {app_name} ({app.id}) ends {left}, at {iso_time(key.expires_at)}.'
        " From then on every request with it is refused."
    )
    renewal = (
        f"To renew it without a gap: gateway keys rotate {key.id}. The new key has the same name and scopes; the old"
        " one goes on for a week beside it. Deploy the new token before then."
    )
    otherwise = f"If nobody needs it any more, let it end, or revoke it: gateway keys revoke {key.id}."
    return Letter(
        f'API key "{name}" of {app_name} ends {left}',
        (told, renewal, otherwise),
        "key.expires",
        {
            "mark": mark.value,
            "app": app.id,
            "key": key.id,
            "name": key.name,
            "scopes": sorted(key.scopes),
            "expires_at": iso_time(key.expires_at),
        },
    )


def leak(app: App, incident: Incident, name: str) -> Letter:
    """That a credential leaked, what was done, and what to do."""
    what = "API key" if incident.subject is Subject.KEY else "user token"
    called = f'{what} "{_plain(name)}" ({incident.subject_id})' if name else f"{what} {incident.subject_id}"
    app_name = _plain(app.name)
    places = [_plain(each.url or each.source) for each in incident.sightings[:_PLACES] if each.url or each.source]
    told = f"The {called} of the app {app_name} ({app.id}) was reported as leaked at {iso_time(incident.opened_at)}."
    seen = f"It was seen at: {'; '.join(places)}." if places else "Where it was seen was not told."
    used = "unknown" if incident.last_used_at is None else iso_time(incident.last_used_at)
    further = (
        f"See it: gateway incidents show {incident.id}. Then say that somebody is at it: gateway incidents acknowledge"
        f" {incident.id}."
    )
    return Letter(
        f"Leaked: {what} {incident.subject_id} of {app_name}",
        (told, _done(incident), seen, f"Last used before that: {used}.", further),
        "credential.leaked",
        {
            "app": app.id,
            "incident": incident.id,
            "subject": incident.subject.value,
            "id": incident.subject_id,
            "ended": incident.ended,
            "proven": incident.proven,
            "opened_at": iso_time(incident.opened_at),
            "places": places,
        },
    )


def trial(now: int) -> Letter:
    """That the way to somebody works."""
    return Letter(
        "A trial notice of the gateway",
        (
            "This is a trial: whoever reads it would be told of API keys that end soon, and of leaks.",
            f"It was asked for at {iso_time(now)}, by 'gateway reminders test'. Nothing has to be done.",
        ),
        "trial",
        {"at": iso_time(now)},
    )


def _done(incident: Incident) -> str:
    if incident.ended:
        return "It was ended at once, and no request with it is let through any more. Make a new one where it was used."
    if incident.proven:
        return "It had ended before, so that nothing had to be done."
    return (
        "Only its id was seen, not its secret: it goes on working. Look at the place; if the secret is there too,"
        " revoke it."
    )


def _plain(text: str) -> str:
    """A text of somebody's without what would break a line, turn its direction, or be made a link by who shows it."""
    return "".join(sign if sign.isprintable() else " " for sign in text).replace("://", "[:]//")
