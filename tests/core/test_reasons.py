"""Every reason has a row in the table, an explanation, a line in docs/reasons.md, and a test that brings it about."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.core.decision import TABLE, Reason
from gateway.core.explanations import EXPLANATIONS
from tests.support.reasons_doc import DOCUMENT, document, lines
from tests.support.vectors import VECTORS

TESTS = Path(__file__).parents[1]


def test_the_page_says_what_the_code_does() -> None:
    """Developers would read of reasons that do not exist, or would not find the one that they were given."""
    if os.environ.get("UPDATE_DOCS"):
        DOCUMENT.write_text(document(), "utf-8")

    assert DOCUMENT.read_text("utf-8") == document()


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_is_told(reason: Reason) -> None:
    """A refusal would end in a fault of ours, or would be told otherwise than the page says."""
    row, line = TABLE[reason], lines()[reason.value]

    assert (line.relaxed, line.status) == (row.relaxed or row.status, row.status)
    assert (line.code, line.reportable) == (row.code, row.reportable)
    assert line.explanation == EXPLANATIONS[reason]
    assert row.sentence.endswith(".")


def test_nothing_else_is_told() -> None:
    """A reason that is gone would live on in the table, on the page or in its explanations."""
    assert set(lines()) == set(Reason)
    assert set(TABLE) == set(EXPLANATIONS) == set(Reason)


def test_only_what_may_be_relaxed_is() -> None:
    """Report mode would let through what must always be refused."""
    assert {reason.value for reason, row in TABLE.items() if row.reportable} == {
        "scope_missing",
        "keys_only",
        "not_own_data",
        "not_own_app",
        "field_unknown",
    }


def _expectations(value: Any) -> Iterator[str]:
    """Every text in a table that says what comes of a row."""
    if isinstance(value, dict):
        for key, member in value.items():
            if isinstance(member, str) and key in ("expect", "reason", "public"):
                yield member
            yield from _expectations(member)
    elif isinstance(value, list):
        for item in value:
            yield from _expectations(item)


def _brought_about() -> set[str]:
    found: set[str] = set()
    for table in VECTORS.glob("*.yaml"):
        found.update(_expectations(yaml.safe_load(table.read_text("utf-8"))))
    # What needs a clock, a store or an upstream that fails is no row of a table.
    for folder in ("proxy", "system", "store", "cli"):
        for test in (TESTS / folder).rglob("test_*.py"):
            text = test.read_text("utf-8")
            found.update(re.findall(r"[\"']([a-z_]+)[\"']", text))
            found.update(name.lower() for name in re.findall(r"\bReason\.([A-Z_]+)", text))
    return found


def test_each_reason_has_a_test() -> None:
    """Something would be refused, or no longer be refused, and no test would notice."""
    assert set(Reason) - _brought_about() == set()
