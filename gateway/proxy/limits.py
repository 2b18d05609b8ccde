"""Bounds on either side of the wire."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds on what a client may send and how long it may take. Bytes, and seconds."""

    header_bytes: int = 16_384
    linger_bytes: int = 65_536
    header: float = 10.0
    body: float = 15.0
    idle: float = 75.0
    linger: float = 1.0
    client_stall: float = 30.0


@dataclass(frozen=True, slots=True)
class UpstreamLimits:
    """What is spent on an upstream. Times in seconds, sizes in bytes."""

    connect: float = 2.0
    """To a usable connection: a free place, name resolution and all addresses, TLS included."""
    first_byte: float = 30.0
    """From the request written whole to the whole head of the answer."""
    between_bytes: float = 30.0
    """Without a byte of the answer, once its head is there; without a byte of a streamed request taken."""
    client_stall: float = 30.0
    """Without the client taking a byte of an answer that waits for it."""
    idle: float = 4.0
    """An unused connection is kept; below what servers usually keep it for, so that they seldom close it under us."""
    max_age: float = 300.0
    """A connection is used again; bounds how long an address is used that its name no longer has."""
    head_bytes: int = 65_536
    """The head of an answer, interim answers before it included."""
    max_connections: int = 256
    """Exchanges at a time with one endpoint."""
