"""What this process took away, or heard that others did, kept for a day beside the store, which may forget it.

Replication is asynchronous: a revocation that was acknowledged is lost when a replica is promoted that had not got it.
The register knows it all the same: what is read from the store is looked at through it, and what a store has forgotten
is told anew from it. It also keeps `Store.revision`: a number that moves with everything new that is heard.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Container
from itertools import chain
from typing import Final

from gateway.core.records import User
from gateway.core.takings import Taken, Taking, less_app, less_key, less_token, less_user
from gateway.store.contract import FoundKey, FoundUser, FoundUserToken

DAY: Final = 24 * 60 * 60.0  # seconds: whoever runs the store knows of a failover or a restored backup by then
ENTRIES: Final = 100_000  # 50 MB (measured)
REFRESHED: Final = 20_000  # user tokens that were refreshed: there are many a day, and they must push out nothing else
RECENT: Final = 10_000  # ended ids that are told one by one; whoever missed more forgets everything instead

# By subject, with when it was last heard, the oldest first.
_Kept = OrderedDict[tuple[Taken, str, str], tuple[float, Taking]]


class Register:
    """What was taken away, merged by subject; bounded in time and entries, the oldest going first.

    `overflowed` counts what went before its time: only of those may a store that forgets make a credential work again.
    User tokens that were merely refreshed are bounded, and not counted, by themselves.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        tag_of: Callable[[str], str],
        *,
        entries: int = ENTRIES,
        refreshed: int = REFRESHED,
        recent: int = RECENT,
    ) -> None:
        """`clock` counts seconds and never goes back; `tag_of` gives the slot tag of an app's id."""
        self._clock = clock
        self._tag_of = tag_of
        self._entries = entries
        self._most_refreshed = refreshed
        self._takings = _Kept()
        self._refreshed = _Kept()
        self._ended = deque[str](maxlen=recent)  # the last of them made the revision what it is
        self._jumped = 0  # the revision before which nothing is known
        self.revision = 0
        self.overflowed = 0

    def __len__(self) -> int:
        return len(self._takings) + len(self._refreshed)

    # What was heard

    def note(self, taking: Taking) -> bool:
        """Keep what was taken away for a day from now; whether it was new."""
        known = self._of(*taking.subject)
        merged = taking if known is None else known.merged(taking)
        self._refreshed.pop(taking.subject, None)
        self._takings.pop(taking.subject, None)
        kept = self._refreshed if _merely_refreshed(merged) else self._takings
        kept[taking.subject] = self._clock(), merged
        self._drop()
        if merged == known:
            return False
        self.revision += 1
        self._ended.append(taking.id)
        return True

    def jump(self) -> None:
        """Something may have ended unheard: nothing that was known before the new revision is known any more."""
        self.revision += 1
        self._ended.clear()
        self._jumped = self.revision

    def ended_since(self, revision: int) -> frozenset[str] | None:
        """The ids from which something was taken since; None when it is not known."""
        moved = self.revision - revision
        if revision < self._jumped or not 0 <= moved <= len(self._ended):
            return None
        return frozenset(self._ended[-number] for number in range(1, moved + 1))

    def of(self, tags: Container[str], lately: float = DAY) -> list[Taking]:
        """All that was heard in the last seconds to be taken from what lies under these slot tags."""
        since = self._clock() - lately
        heard = chain(self._takings.values(), self._refreshed.values())
        return [taking for at, taking in heard if at > since and self._tag_of(taking.app_id) in tags]

    # What was read, less what was taken

    def less_key(self, found: FoundKey) -> FoundKey:
        """What a store says of a key, less what is known to be taken from it and its app."""
        record, app = found.record, found.app
        key = less_key(record, self._of(Taken.KEY, record.app_id, record.id))
        fewer = less_app(app, self._of(Taken.APP, app.id, app.id))
        return found if key is record and fewer is app else FoundKey(key, fewer)

    def less_user_token(self, found: FoundUserToken) -> FoundUserToken:
        """What a store says of a user token, less what is known to be taken from it, its user and its app."""
        record, user, app = found.record, found.user, found.app
        token = less_token(record, self._of(Taken.USER_TOKEN, record.app_id, record.id))
        cut = less_user(user, self._of(Taken.USER, user.app_id, user.id))
        fewer = less_app(app, self._of(Taken.APP, app.id, app.id))
        return found if token is record and cut is user and fewer is app else FoundUserToken(token, cut, fewer)

    def less_user(self, found: FoundUser, user_id: str) -> FoundUser:
        """What a store says of an app and a user, less what is known to be taken from them. Of a user from whom
        something was taken and whom the store does not know any more, that much is known."""
        user, app = found.user, found.app
        taking = self._of(Taken.USER, app.id, user_id)
        if user is None and taking is not None:
            user = User(user_id, app.id)
        cut = user and less_user(user, taking)
        fewer = less_app(app, self._of(Taken.APP, app.id, app.id))
        return found if cut is found.user and fewer is app else FoundUser(cut, fewer)

    def _of(self, kind: Taken, app_id: str, subject_id: str) -> Taking | None:
        subject = kind, app_id, subject_id
        entry = self._takings.get(subject) or self._refreshed.get(subject)
        return None if entry is None else entry[1]

    def _drop(self) -> None:
        """Forget what is older than a day, and the oldest of too many."""
        oldest = self._clock() - DAY
        for kept in (self._takings, self._refreshed):
            while kept and next(iter(kept.values()))[0] <= oldest:
                kept.popitem(last=False)
        while len(self._refreshed) > self._most_refreshed:
            self._refreshed.popitem(last=False)
        while len(self._takings) > self._entries:
            self._takings.popitem(last=False)
            self.overflowed += 1


def _merely_refreshed(taking: Taking) -> bool:
    return taking.kind is Taken.USER_TOKEN and taking.end is None
