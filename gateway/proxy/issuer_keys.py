"""The public keys of one issuer: refreshed before they are needed, fetched a few times a minute whatever is asked for,
and kept for a day while the issuer is away."""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from gateway.core.decision import Reason, Unavailable
from gateway.core.jwk import read_jwks
from gateway.proxy.jwks_sources import Source, SourceAway
from gateway.proxy.jwt_keys import VerificationKey

REFRESH_SECONDS: Final = 300.0  # how long a key that was withdrawn may still work
# Between the beginnings of two fetches, in milliseconds: a flood of unknown keys cannot cause more than three a minute,
# and a key that was published a moment after the last fetch is known soon.
PACE: Final = 20_000
KEPT: Final = 24 * 60 * 60 * 1000  # an issuer that is away for a night does not lock its users out
_TOLD: Final = 3  # faults of single keys in one warning


class IssuerKeys:
    """The keys of the issuer `name`, by `kid`. `run` has to go on for as long as they are asked for.

    `ended` is called with the names (`key_name`) of keys that no longer count. Times are UTC milliseconds.
    """

    def __init__(
        self, name: str, source: Source, clock: Callable[[], int], ended: Callable[[frozenset[str]], None]
    ) -> None:
        self.name = name
        self._source = source
        self._clock = clock
        self._ended = ended
        self._keys: dict[str, VerificationKey] = {}
        self._good_at: int | None = None  # when the set was fetched
        self._begun_at = -PACE
        self._trouble: str | None = None  # why the last fetch brought nothing
        self._faults: tuple[str, ...] = ()
        self._fetch: asyncio.Task[None] | None = None

    async def run(self, every: float = REFRESH_SECONDS, pace: float = PACE / 1000) -> None:
        """Refresh the keys again and again; while that fails, at the pace of unknown ones."""
        try:
            while True:
                await self.refresh()
                await asyncio.sleep(every if self._trouble is None else pace)
        finally:
            if self._fetch is not None:
                self._fetch.cancel()

    async def refresh(self) -> None:
        """Return after a fetch: the one that goes on, or a new one."""
        if self._fetch is None or self._fetch.done():
            self._begun_at = self._clock()
            self._fetch = asyncio.create_task(self._fetched())
        await asyncio.wait({self._fetch})  # which goes on for the others when one of those who wait leaves

    async def find(self, kid: str) -> VerificationKey | None:
        """The key with this name, or None when the issuer has none.

        Raises `Unavailable` when nobody can tell: there is no set, or the newest could not be had.
        """
        key = self._present().get(kid)
        if key is not None:
            return key
        going = self._fetch is not None and not self._fetch.done()
        if going or self._clock() - self._begun_at >= PACE:
            await self.refresh()
        present = self._present()
        if kid not in present and (self._trouble is not None or self._good_at is None):
            raise Unavailable(Reason.ISSUER_UNAVAILABLE, self._sentence(), retry_after=5)
        return present.get(kid)

    def key_name(self, kid: str) -> str:
        """What a key is called outside, unlike the id of anything else: no id has a blank in it."""
        return f"{self.name} {kid}"

    @property
    def good_until(self) -> int:
        """When the keys stop working unless they are refreshed."""
        return 0 if self._good_at is None else self._good_at + KEPT

    @property
    def age(self) -> float:
        """How many seconds ago the keys were fetched; without any, infinitely many."""
        return math.inf if self._good_at is None else (self._clock() - self._good_at) / 1000

    def warnings(self) -> Iterator[str]:
        """Sentences about what is not as it should be."""
        if self._trouble is not None:
            yield self._sentence()
        if self._faults:
            told = "; ".join(self._faults[:_TOLD])
            yield f"The key set of the issuer {self.name} holds keys that are not used: {told}."

    def _sentence(self) -> str:
        so_far = "were never fetched" if self._good_at is None else f"are {int(self.age)} seconds old"
        return f"The keys of the issuer {self.name} {so_far}: {self._trouble}."

    def _present(self) -> Mapping[str, VerificationKey]:
        return self._keys if self._clock() < self.good_until else {}

    async def _fetched(self) -> None:
        try:
            data = await self._source()
            found, faults = await asyncio.to_thread(_usable, data)
        except SourceAway as error:
            self._trouble = str(error)
        except ValueError as error:
            self._trouble = f"what was fetched {error}"
        else:
            self._take(found, faults)

    def _take(self, found: dict[str, VerificationKey], faults: tuple[str, ...]) -> None:
        gone = {kid for kid, key in self._keys.items() if kid not in found or found[kid].jwk != key.jwk}
        self._keys, self._good_at, self._trouble, self._faults = found, self._begun_at, None, faults
        if gone:
            self._ended(frozenset(map(self.key_name, gone)))


def _usable(data: bytes) -> tuple[dict[str, VerificationKey], tuple[str, ...]]:
    keys, faults = read_jwks(data)
    usable = {}
    for kid, jwk in keys.items():
        try:
            usable[kid] = VerificationKey(jwk)
        except ValueError as error:
            faults = (*faults, f"one of them {error}")
    return usable, faults
