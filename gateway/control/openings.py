"""Which incidents there may be news of: the audit says which were opened, or had their credential ended, so that nobody
has to read all that ever were every few seconds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.core.audit import AuditAction, AuditEvent
from gateway.core.incidents import incident_id
from gateway.core.records import RevokedWhy
from gateway.store.contract import Store, StoreBroken

_ENDED: Final = (AuditAction.KEY_REVOKED, AuditAction.USER_TOKEN_REVOKED)


@dataclass(slots=True)
class Openings:
    """The ids of the incidents that are to be looked at. `known` is whether all were read once."""

    store: Store
    known: bool = False
    _places: dict[str, int] = field(default_factory=dict)
    _ids: dict[str, None] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """Those of which not all was told yet, as far as it is known."""
        return list(self._ids)

    def keep(self, incident: str, *, settled: bool) -> None:
        """Note whether an incident is to be looked at again."""
        if settled:
            self._ids.pop(incident, None)
        else:
            self._ids[incident] = None

    async def place(self) -> dict[str, int]:
        """How far the audit is, or less. To be asked before all incidents are read, and given to `all_read` then."""
        if self.known:
            return {}
        seals = [await self.store.last_seal(chain) for chain in await self.store.chains()]
        return {seal.chain: seal.last for seal in seals if seal is not None}

    def all_read(self, places: dict[str, int]) -> None:
        """Every incident was met that had been opened by then."""
        self._places = places | self._places
        self.known = True

    async def follow(self, damaged: Callable[[str, Exception], None]) -> None:
        """Go on in the audit. What is damaged there keeps back nothing of the other chains; what it hides is found when
        all incidents are read again."""
        for chain in await self.store.chains():
            try:
                async for numbered in self.store.events(chain, self._places.get(chain, 0)):
                    self._note(numbered.event)
                    self._places[chain] = numbered.number
            except StoreBroken as error:
                damaged(chain, error)

    def _note(self, event: AuditEvent) -> None:
        if event.action is AuditAction.INCIDENT_OPENED:
            self._ids[event.subject_id] = None
        elif event.action in _ENDED and event.about == RevokedWhy.LEAKED:
            self._ids[incident_id(event.app_id, event.subject_id)] = None
