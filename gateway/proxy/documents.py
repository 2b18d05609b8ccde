"""Analysed documents, remembered: the analysis, not the text's tree. Variables are never part of what is remembered."""

from typing import Final

from gateway.core.document import DocumentLimits
from gateway.core.operation import Operation, analyse
from gateway.core.policy import Policy

_PART_BYTES: Final = 256  # of a finding, or of a value with its place in the text (measured: 150 to 400)


class Documents:
    """The operations of one policy, analysed at first sight and remembered within bounds.

    Bounded in entries and in bytes, of the text and of what is kept of it; long documents are analysed each time, so
    that a caller who sends a new one with every request cannot push the others out. A reload of the policy builds
    another instance.
    """

    __slots__ = ("_bytes", "_entries", "_longest", "_memory", "_room", "_weights", "hits", "limits", "misses", "policy")

    def __init__(self, policy: Policy, limits: DocumentLimits, *, entries: int, room: int, longest: int) -> None:
        self.policy = policy
        self.limits = limits
        self._entries = entries
        self._room = room
        self._longest = longest
        self._memory: dict[tuple[str, str | None], Operation] = {}
        self._weights: dict[tuple[str, str | None], int] = {}
        self._bytes = 0
        self.hits = 0
        self.misses = 0

    def operation(self, text: str, name: str | None) -> Operation:
        """The operation of `text` that `name` names; raises `Refused` like `analyse`, and remembers no refusal."""
        key = (text, name)
        operation = self._memory.get(key)
        if operation is not None:
            self.hits += 1
            return operation
        self.misses += 1
        operation = analyse(self.policy, text, name, self.limits)
        if len(text) <= self._longest:
            self._remember(key, operation)
        return operation

    def _remember(self, key: tuple[str, str | None], operation: Operation) -> None:
        self._memory[key] = operation
        self._weights[key] = weight = len(key[0]) + _PART_BYTES * operation.parts
        self._bytes += weight
        while len(self._memory) > self._entries or self._bytes > self._room:
            oldest = next(iter(self._memory))
            del self._memory[oldest]
            self._bytes -= self._weights.pop(oldest)
