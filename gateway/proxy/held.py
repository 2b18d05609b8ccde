"""An answer held back from its client until the users whom it tells deleted have ended.

It stands between the exchange and the client, so that the way of all other answers knows nothing of it.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.core.decision import Permission, Reported
from gateway.core.deletion import gone, surely_gone
from gateway.core.principal import Principal
from gateway.proxy.deletions import Deletions
from gateway.proxy.exchange import Client, Outcome, Running

HELD_BYTES: Final = 64 * 1024  # of an answer's body; a longer one is not read, and counts as a deletion


class Held:
    """The client's connection, as the exchange sees it, for a request that deletes users.

    An answer that is no success passes. Of a successful one nothing is given out until the users have ended: once it is
    whole, those that it does not plainly tell to have failed; once it is longer than `HELD_BYTES`, all. Where it never
    becomes whole, whoever broke it off, all of them end too.

    Of a request that would have been refused, and passes in report mode alone, only those users end whom the answer
    plainly says to be deleted.
    """

    def __init__(self, client: Client, deletions: Deletions, principal: Principal, permission: Permission) -> None:
        self._client = client
        self._deletions = deletions
        self._principal = principal
        self._deleted = permission.deletions
        self._reported = isinstance(permission, Reported)
        self._exchange: Running | None = None
        self._asked = False
        self._passing = False
        self._held: list[bytes] = []
        self._room = HELD_BYTES
        self._ending: asyncio.Task[bool] | None = None

    async def relayed(self, exchange: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Run the exchange, and end whom it has deleted before the end of its answer is relayed."""
        try:
            outcome = await exchange
        except asyncio.CancelledError:
            self._client.abort()
            if self._asked:
                self._end(self._everybody())
            raise
        except Exception:
            if self._asked:
                await asyncio.shield(self._end(self._everybody()))
            raise
        if not self._asked or (self._passing and self._ending is None):
            return outcome
        whole = self._ending is None and not outcome.aborted
        user_ids = self._gone() if whole else self._everybody()
        ended = await asyncio.shield(self._end(user_ids))
        if not ended or outcome.aborted:
            self._client.abort()
            return outcome._replace(keep_alive=False, aborted=True)
        if whole:
            self._pass()
        return outcome

    def _gone(self) -> tuple[str, ...]:
        body = _body_of(b"".join(self._held))
        if self._reported:
            return () if body is None else surely_gone(self._deleted, body)
        return gone(self._deleted, body or b"")

    def _everybody(self) -> tuple[str, ...]:
        """Whoever may have been deleted by an answer that cannot be read."""
        return () if self._reported else tuple(dict.fromkeys(each.user_id for each in self._deleted))

    def _end(self, user_ids: tuple[str, ...]) -> asyncio.Task[bool]:
        """End these users, unless it was begun before."""
        if self._ending is None:
            self._ending = self._deletions.begin(self._principal, user_ids)
        return self._ending

    def _pass(self) -> None:
        self._passing = True
        self._client.write(b"".join(self._held))
        self._held.clear()

    def _ended(self, ending: asyncio.Task[bool]) -> None:
        """The users of an answer that is too long to be read have ended, or could not be."""
        if ending.cancelled() or not ending.result():
            self._client.abort()
            return
        self._pass()
        if self._exchange is not None:
            self._exchange.client_resumed()

    # The client, as the exchange sees it.

    @property
    def exchange(self) -> Running | None:
        """The exchange, while it runs."""
        return self._exchange

    @exchange.setter
    def exchange(self, running: Running | None) -> None:
        self._asked = True
        self._exchange = running
        self._client.exchange = None if running is None else self

    @property
    def writing_paused(self) -> bool:
        """Nothing more is taken while users are being ended, or while the client takes nothing."""
        return (self._ending is not None and not self._passing) or self._client.writing_paused

    def write(self, data: bytes) -> None:
        """Hold back what belongs to a success; its first piece begins with the whole head."""
        if not self._held and not self._passing:
            self._passing = data[9:10] != b"2"
            self._room += data.index(b"\r\n\r\n") + 4
        if self._passing:
            self._client.write(data)
            return
        self._held.append(data)
        self._room -= len(data)
        if self._room < 0 and self._ending is None:
            self._end(self._everybody()).add_done_callback(self._ended)

    def unsent(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._client.unsent()

    def gone(self) -> bool:
        """The client has left, or was cut off."""
        return self._client.gone()

    def abort(self) -> None:
        """Cut the connection; within a success only once the users have ended, as it counts as a deletion."""
        if self._passing:
            self._client.abort()

    # The exchange, as the client's connection sees it.

    def client_left(self) -> None:
        """The client is gone."""
        if self._exchange is not None:
            self._exchange.client_left()

    def client_resumed(self) -> None:
        """The client takes more, which it is given only once the users have ended."""
        if self._exchange is not None and (self._passing or self._ending is None):
            self._exchange.client_resumed()

    def client_closes(self) -> None:
        """The client's connection ends with this answer."""
        if self._exchange is not None:
            self._exchange.client_closes()


class _Body:
    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.on_body = self.parts.append
        self.coded = False

    def on_header(self, name: bytes, _: bytes) -> None:
        self.coded |= name.lower() == b"content-encoding"


def _body_of(answer: bytes) -> bytes | None:
    """The body in the bytes of an answer that is whole; None where it cannot be read, as it has a coding."""
    body = _Body()
    try:
        HttpResponseParser(body).feed_data(answer)
    except (HttpParserError, HttpParserUpgrade):
        return None
    return None if body.coded else b"".join(body.parts)
