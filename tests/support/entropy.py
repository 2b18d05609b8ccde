"""Randomness that is the same in each test."""

import hashlib
from collections.abc import Callable
from itertools import count


def counting() -> Callable[[int], bytes]:
    """Bytes that are different at each call."""
    calls = count(1)
    return lambda size: hashlib.shake_128(str(next(calls)).encode()).digest(size)
