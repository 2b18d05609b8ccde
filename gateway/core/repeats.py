"""A request that may be sent again: done once, and answered again as it was answered first.

What a request with an `Idempotency-Key` came to is kept in the same act as its change, so that of many alike one is
done and the others find it, in whichever process they are. The answer is kept without the token in it.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from gateway.core.ledger import Act, ActReason, ActRefused, Changes, Item, ItemKey, ItemKind, Snapshot
from gateway.core.wishes import DAY

KEPT: Final = DAY  # how long a repeat is known for one


class Repeated(ActRefused):
    """The request was done before; `answer` is what it was answered then. Nothing was changed now."""

    def __init__(self, answer: str) -> None:
        super().__init__(ActReason.REPEATED, "The request was done before.")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Repeat:
    """What makes two requests the same: the caller's `Idempotency-Key`, for one route and one body.

    `attempt` is drawn anew for each request: when a store has to be asked again whether it did something, the request
    is not taken for a repeat of itself.
    """

    digest: str
    route: str
    body: str
    attempt: str

    def key(self, owner: str) -> ItemKey:
        """Where it is kept, for a change to what this app or person owns."""
        return ItemKind.REPEAT, owner[:2] + self.digest

    def claim(self) -> "Repeat":
        """What binds the key to this request before it is done. It is never taken for what the request came to, even
        where both are kept in one place."""
        return replace(self, digest=_digest("claim", self.digest, ""))


def repeat_of(caller: str, key: str, scope: str, route: str, body: bytes, attempt: str) -> Repeat:
    """A request of a caller, with the `Idempotency-Key` that came with it; another scope knows nothing of the key."""
    return Repeat(_digest(caller, key, scope), route, hashlib.sha256(body).hexdigest(), attempt)


def tag_of(caller: str, key: str) -> bytes:
    """The first byte for the id of something new, so that a repeat looks where the first request was kept."""
    return bytes.fromhex(_digest(caller, key, "")[:2])


def once(act: Act, repeat: Repeat, answer: Callable[[Snapshot, Changes], str]) -> Act:
    """The act, done by the first of all requests that are the same.

    It is refused with `Repeated` for the others, and with `repeat_differs` for one that has the same key and is not
    the same. `answer` is what the first is answered, without any token.
    """
    key = repeat.key(act.asked.app_id)

    def decide(snapshot: Snapshot) -> Changes:
        before = _kept(snapshot, key)
        if before is not None and before.repeat.attempt != repeat.attempt:
            if replace(before.repeat, attempt=repeat.attempt) != repeat:
                raise ActRefused(
                    ActReason.REPEAT_DIFFERS, "This Idempotency-Key came with another request before; draw a new one."
                )
            raise Repeated(before.answer)
        others = {each: item for each, item in snapshot.items.items() if each != key}
        changes = act.decide(replace(snapshot, items=others))  # which may drop all that it was shown
        if before is not None:
            return changes
        text = json.dumps(
            {
                "route": repeat.route,
                "body": repeat.body,
                "attempt": repeat.attempt,
                "answer": answer(snapshot, changes),
            }
        )
        item = Item(*key, act.asked.app_id, text, snapshot.now + KEPT)
        return replace(changes, items=(*changes.items, item))

    return Act(replace(act.asked, items=(*act.asked.items, key)), decide)


def forget(snapshot: Snapshot, repeat: Repeat, owner: str) -> Changes:
    """A request that came to nothing after all may be sent again: nothing of this attempt remains."""
    key = repeat.key(owner)
    kept = _kept(snapshot, key)
    return Changes(dropped=(key,)) if kept is not None and kept.repeat.attempt == repeat.attempt else Changes()


@dataclass(frozen=True, slots=True)
class _Kept:
    repeat: Repeat
    answer: str


def _kept(snapshot: Snapshot, key: ItemKey) -> _Kept | None:
    item = snapshot.items.get(key)
    if item is None or item.ends_at is None or item.ends_at <= snapshot.now:
        return None
    values = json.loads(item.text)
    names = ("route", "body", "attempt", "answer")
    if not isinstance(values, dict) or set(values) != set(names) or not all(type(values[n]) is str for n in names):
        raise ValueError("the store has a repeat that is none")
    return _Kept(Repeat(item.id[2:], values["route"], values["body"], values["attempt"]), values["answer"])


def _digest(caller: str, key: str, scope: str) -> str:
    return hashlib.sha256(json.dumps([caller, key, scope]).encode()).hexdigest()[:40]
