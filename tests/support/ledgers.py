"""A ledger in memory, on which acts are done one after another: the plainest store, for the rules alone."""

from dataclasses import dataclass, field
from typing import Final

from gateway.core.audit import AuditEvent
from gateway.core.ledger import Act, Asked, Changes, Decide, Item, ItemKey, Snapshot, Who
from gateway.core.records import App, KeyRecord, Role, User, UserTokenRecord, ends_at

WHO: Final = Who("tester", "suite")


@dataclass(slots=True)
class Ledger:
    """What a store holds, at a time that tests set as they like."""

    now: int = 1_700_000_000_000
    apps: dict[str, App] = field(default_factory=dict)
    keys: dict[str, KeyRecord] = field(default_factory=dict)
    users: dict[tuple[str, str], User] = field(default_factory=dict)
    tokens: dict[str, UserTokenRecord] = field(default_factory=dict)
    roles: dict[tuple[str, str], Role] = field(default_factory=dict)
    items: dict[ItemKey, Item] = field(default_factory=dict)
    events: list[AuditEvent] = field(default_factory=list)

    def seen(self, asked: Asked) -> Snapshot:
        """What an act sees: no more than a store must show."""
        ids = {*asked.keys, *asked.tokens}
        keys = {key.id: key for key in self.keys.values() if key.app_id == asked.app_id}
        tokens = {token.id: token for token in self.tokens.values() if token.app_id == asked.app_id}
        shown = {key.id: key for key in keys.values() if ends_at(key) > self.now or key.id in asked.keys}
        users = [user for (app_id, _), user in self.users.items() if app_id == asked.app_id]
        wanted = {*asked.users, *(user.id for user in users if user.external_id in asked.external_ids)}
        return Snapshot(
            now=self.now,
            app=self.apps.get(asked.app_id),
            keys=shown,
            users={user.id: user for user in users if user.id in wanted},
            tokens={token_id: tokens[token_id] for token_id in asked.tokens if token_id in tokens},
            roles={
                email: role for (app_id, email), role in self.roles.items() if app_id == asked.app_id and asked.roles
            },
            items={key: self.items[key] for key in asked.items if key in self.items},
            taken=frozenset(
                taken
                for taken in ids & (self.keys.keys() | self.tokens.keys())
                if taken not in (keys if taken in asked.keys else tokens)
            ),
        )

    def act(self, act: Act) -> Changes:
        """Do it whole, or raise and change nothing."""
        seen = self.seen(act.asked)
        changes = act.decide(seen)
        self.keep(act.asked.app_id, changes)
        return changes

    def do(self, asked: Asked, decide: Decide) -> Changes:
        """The same, of its parts."""
        return self.act(Act(asked, decide))

    def keep(self, app_id: str, changes: Changes) -> None:
        """Keep what was decided."""
        if changes.app is not None:
            self.apps[changes.app.id] = changes.app
        self.keys.update({key.id: key for key in changes.keys})
        self.users.update({(user.app_id, user.id): user for user in changes.users})
        self.tokens.update({token.id: token for token in changes.tokens})
        self.items.update({item.key: item for item in changes.items})
        for key in changes.dropped:
            self.items.pop(key, None)
        for email, role in changes.roles.items():
            if role is None:
                del self.roles[app_id, email]
            else:
                self.roles[app_id, email] = role
        self.events.extend(changes.events)
