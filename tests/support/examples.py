"""How many examples generated tests try: few while developing, many, and always the same, in CI."""

import os
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, settings

IN_CI = bool(os.environ.get("CI"))
Test = TypeVar("Test", bound=Callable[..., object])


def many(test: Test) -> Test:
    """For the properties that the product stands on: `@many` above `@given`. 2,000 examples is what CI must show."""
    return settings(max_examples=2_000 if IN_CI else 200)(test)


def load_profile() -> None:
    """Choose the profile for this run. No deadline: a slow machine is not a fault."""
    settings.register_profile(
        "ci",
        max_examples=200,
        derandomize=True,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.register_profile("dev", max_examples=50, deadline=None)
    settings.load_profile("ci" if IN_CI else "dev")
