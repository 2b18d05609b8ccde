"""docs/reasons.md, made from what the code says: `UPDATE_DOCS=1 make test ARGS="-k reasons"` writes it anew."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.core.decision import TABLE, Reason
from gateway.core.explanations import EXPLANATIONS

DOCUMENT = Path(__file__).parents[2] / "docs" / "reasons.md"

_HEAD = """\
# Reasons

Every refusal has a reason. It stands in the answer, as `extensions.reason` of an error on the GraphQL path and as
`reason` of a problem on other routes, in the line of the log, and in the metrics. The set is closed: this page lists
all of it.

* **Status** is the HTTP status for `application/json`, which is also what a client without an Accept header gets, and
  for `application/graphql-response+json`. A GraphQL answer with 200 has `errors` and no `data`.
* **Code** is `extensions.code`, the coarse name that clients of GraphQL servers know.
* **Reportable** reasons are let through, and reported, in report mode. `field_unknown` is so below the root only, and
  not where the field could be one that the schema knows by another type.
* Where several reasons are found, each is told, and the status is 403 if any of them has it. One answer has at most 50
  errors; `extensions.errors_left_out` beside them says how many more there are.

This page is made from `gateway/core/decision.py` and `gateway/core/explanations.py`, and a test keeps them alike.

| reason | `application/json` | `application/graphql-response+json` | code | reportable | what it means and what to do |
| --- | --- | --- | --- | --- | --- |
"""


class Line(NamedTuple):
    """One reason as the page has it."""

    relaxed: int
    status: int
    code: str
    reportable: bool
    explanation: str


def document() -> str:
    """The whole page."""
    return _HEAD + "".join(_row(reason) for reason in Reason)


def _row(reason: Reason) -> str:
    row = TABLE[reason]
    cells = (
        f"`{reason.value}`",
        str(row.relaxed or row.status),
        str(row.status),
        f"`{row.code}`",
        "yes" if row.reportable else "no",
        EXPLANATIONS[reason],
    )
    return f"| {' | '.join(cells)} |\n"


def lines() -> Mapping[str, Line]:
    """What the page says, by reason, read from the file."""
    table = DOCUMENT.read_text("utf-8").partition("| --- |")[2].splitlines()[1:]
    found = {}
    for text in table:
        reason, relaxed, status, code, reportable, explanation = (cell.strip(" `") for cell in text[1:-1].split("|"))
        found[reason] = Line(int(relaxed), int(status), code, reportable == "yes", explanation)
    return found
