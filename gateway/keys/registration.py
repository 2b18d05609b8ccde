"""The life of an SDK user's tokens over HTTP: a code for a backend, a first token for the code, each next for the last.

As `Keeper`: every method raises `ActRefused`, and `StoreUnavailable` when it was not done, or nobody knows.
"""

import asyncio
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from gateway.core import families as family_rules
from gateway.core.codes import (
    CODE_BYTES,
    Code,
    KeptCode,
    NewCode,
    code_from,
    code_in,
    create_code,
    drop_code,
    minted_code,
)
from gateway.core.families import NextToken, TokenRules, families_key
from gateway.core.ledger import Asked, Changes, Snapshot, Who
from gateway.core.records import App, UserTokenRecord
from gateway.core.token import Prefixes, Secret
from gateway.keys.keeper import Keeper, verifier_of
from gateway.store.contract import Store, StoreBroken, StoreUnavailable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SOURCE: Final = "traffic"
_CIPHERS: Final = "cryptography.hazmat.primitives.ciphers.aead"
_GATEWAY: Final = Who("gateway", _SOURCE)
_NONCE: Final = bytes(12)  # always the same, as each key seals one text alone
_NO_CODE: Final = KeptCode(bytes(32), "", None, 0)  # opens nothing
_NO_APP: Final = App("", "", "")


@dataclass(frozen=True, slots=True)
class MadeCode:
    """A new authentication code, and when it ends."""

    code: Secret
    expires_at: int


@dataclass(frozen=True, slots=True)
class OpenCode:
    """A code that had not expired when it was looked at, the app it is for, the key that asked for it, and the external
    id in it."""

    code: Code
    app: App
    key_id: str
    external_id: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new user token, and its text. `replicated` is False when a replica there is did not confirm it in time."""

    record: UserTokenRecord
    token: Secret
    replicated: bool = True


@dataclass(frozen=True, slots=True)
class Registration:
    """Registers users and refreshes their tokens."""

    store: Store
    entropy: Callable[[int], bytes] = field(repr=False)
    prefixes: Prefixes
    rules: TokenRules

    async def issue_code(self, app_id: str, region: str, external_id: str, key_id: str) -> MadeCode:
        """A code that an API key asks for: whoever is given it becomes the user of the app with this external id."""
        who = Who(f"key:{key_id}", _SOURCE)
        keeper = self._keeper(who)
        text = minted_code(app_id, self.entropy(CODE_BYTES))
        code = _read(text)
        sealed = (await _cipher(code.opener)).encrypt(_NONCE, external_id.encode(), _bound_to(app_id, region))
        wish = NewCode(code.key, key_id, external_id, sealed)
        asked = Asked(app_id, external_id=external_id, items=(code.key,))
        done = await keeper.do_of_user(asked, lambda seen, _: create_code(seen, wish, who))
        if not done.replicated:
            await keeper.undo(asked, lambda seen: drop_code(seen, code.key))
            raise StoreUnavailable(
                "No replica of the store confirmed in time that the code would last; it was dropped."
            )
        (item,) = done.changes.items
        return MadeCode(text, item.ends_at or done.at)

    async def find_code(self, text: bytes) -> OpenCode | None:
        """What a code opens, if it is good now; found with the same work whatever is wrong with it."""
        code = code_from(text)
        if code is None:
            return None
        (seen,) = await self.store.look([Asked(code.app_id, items=(code.key,))])
        try:
            kept = code_in(seen.items.get(code.key), seen.now) or _NO_CODE
        except ValueError as error:
            raise StoreBroken(f"The store is damaged: {error}.") from error
        app = seen.app or _NO_APP
        external_id = await _opened(code, app, kept.sealed)
        return None if external_id is None else OpenCode(code, app, kept.key_id, external_id)

    async def register(self, held: OpenCode) -> Issued:
        """A first token of the user with the external id of the code, who is made if need be. The code is spent."""
        keeper, app_id, key = self._keeper(_GATEWAY), held.app.id, held.code.key
        wish, token = keeper.new_user_token(app_id, None, held.external_id)
        asked = keeper.asked_of(app_id, wish)
        asked = replace(asked, keys=(held.key_id,), items=(*asked.items, key))

        def decide(seen: Snapshot, asked: Asked) -> Changes:
            return family_rules.register(seen, asked, wish, key, self.rules, _GATEWAY)

        done = await keeper.do_of_user(asked, decide)
        return Issued((await keeper.made_user_token(done, app_id, wish.id, token)).record, token)

    async def refresh(self, old: UserTokenRecord) -> Issued:
        """The next token after one that was proven. The old one goes on for a minute.

        It is given out even if no replica has confirmed it: kept back it would be of no use, while the last minute of
        the old one runs; and a failover that loses the one gives the other back.
        """
        who = Who(f"user:{old.user_id}", _SOURCE)
        keeper = self._keeper(who)
        token_id, token = keeper.minted_user_token(old.app_id)
        wish = NextToken(token_id, verifier_of(token))

        def decide(seen: Snapshot, asked: Asked) -> Changes:
            return family_rules.refresh(seen, asked, old.id, wish, self.rules, who)

        asked = replace(_about(old), tokens=(old.id, token_id))
        done = await keeper.do_of_user(asked, decide)
        record = next(record for record in done.changes.tokens if record.id == token_id)
        return Issued(record, token, done.replicated)

    async def end_reused(self, token: UserTokenRecord) -> bool:
        """Whether the family of a token that came back after its last minute was ended now, not before."""
        done = await self._keeper(_GATEWAY).do_of_user(
            _about(token), lambda seen, asked: family_rules.reused(seen, asked, token.id, _GATEWAY)
        )
        return bool(done.changes)

    def _keeper(self, who: Who) -> Keeper:
        return Keeper(self.store, who, self.entropy, self.prefixes, self.rules)


def _about(token: UserTokenRecord) -> Asked:
    items = (families_key(token.app_id, token.user_id),)
    return Asked(token.app_id, user_id=token.user_id, tokens=(token.id,), items=items)


def _read(text: Secret) -> Code:
    code = code_from(text.reveal().encode("ascii"))
    if code is None:  # the app's id is none, which nobody who was proven has
        raise ValueError("no code can be made for this app")
    return code


async def _opened(code: Code, app: App, sealed: bytes) -> str | None:
    cipher = await _cipher(code.opener)
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as below

    try:
        return cipher.decrypt(_NONCE, sealed, _bound_to(app.id, app.region)).decode()
    except InvalidTag:
        return None


async def _cipher(opener: bytes) -> "AESGCM":
    # Not before it is needed, as a gateway without SDK users needs none of it; and beside the event loop, as it takes
    # a tenth of a second.
    if _CIPHERS not in sys.modules:
        await asyncio.to_thread(importlib.import_module, _CIPHERS)
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(opener)


def _bound_to(app_id: str, region: str) -> bytes:
    """What the seal is good for alone: should the app move to another region, a code from before opens nothing."""
    return f"{app_id} {region}".encode()
