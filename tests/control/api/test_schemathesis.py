"""The document says what the API does: each operation with generated requests, by everybody."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.control.api.openapi import document
from gateway.control.api.table import ROWS
from gateway.store.open import open_store
from tests.support.managing import DEVELOPER, EVERYBODY, NOBODY, OPERATOR, SPECTATOR, STRANGER, Managed, managed

DOCUMENT: Final[dict[str, Any]] = document(ROWS)
SCHEMA: Final = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS: Final = [found.ok() for found in SCHEMA.get_all_operations()]
EXAMPLES: Final = 4

_CHECKS: Final = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


class Behind:
    """An API in a thread of its own, for a client that waits for each answer."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.managed: Managed
        self.ids: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        store = open_store(f"sqlite:///{self._directory / 'gateway.db'}", create=True)
        try:
            async with managed(store) as api:
                self.managed = api
                self.ids = await _ids(api)
                self._ready.set()
                await self._stop.wait()
        finally:
            await store.close()


async def _ids(api: Managed) -> dict[str, list[str]]:
    """Ids of what there is, of both apps."""
    keys = [await api.make_key(app, by=OPERATOR, name=name) for app, name in ((api.ours, "k"), (api.theirs, "HIDDEN"))]
    users = [
        (await api.keeper.create_user_token(app.id, external_id=name)).user.id
        for app, name in ((api.ours, "u"), (api.theirs, "HIDDEN"))
    ]
    people = (await api.ask(OPERATOR, "GET", f"/apps/{api.ours.id}/developers")).json["items"]
    tokens = (await api.ask(OPERATOR, "GET", "/developer-tokens")).json["items"]
    leaks = [
        (await api.ask(OPERATOR, "POST", f"/apps/{app.id}/leak-reports", {"id": key["id"], "source": name})).json["id"]
        for app, key, name in ((api.ours, keys[0], "s"), (api.theirs, keys[1], "HIDDEN"))
    ]
    return {
        "app": [api.ours.id, api.ours.id, api.theirs.id],
        "key": [key["id"] for key in keys],
        "user": users,
        "developer": [person["id"] for person in people[1:]],
        "token": [token["id"] for token in tokens if token["developer"] not in {each["id"] for each in people}],
        "incident": leaks,
    }


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """An API that is served."""
    with Behind(tmp_path_factory.mktemp("api")) as served:
        yield served


def test_the_document_is_one() -> None:
    """No generator of clients would read it."""
    validate(DOCUMENT)


@pytest.mark.parametrize("who", EVERYBODY)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_what_is_generated_is_answered_as_the_document_says(behind: Behind, operation: Any, who: str) -> None:
    """A client made of the document would be told what it does not know, or somebody what is not theirs."""
    named = [name for name in behind.ids if f"{{{name}}}" in operation.path]
    real = st.fixed_dictionaries({name: st.sampled_from([*behind.ids[name], None]) for name in named})
    token = behind.managed.tokens.get(who)
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    @settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=[*HealthCheck]
    )
    @given(case=operation.as_strategy(), ids=real)
    def run(case: Any, ids: dict[str, str | None]) -> None:
        case.path_parameters |= {name: value for name, value in ids.items() if value is not None}
        response = case.call(base_url=behind.managed.url, headers=headers)
        case.validate_response(response, checks=_CHECKS, headers=headers)
        if who == NOBODY:
            assert response.status_code == 401
        if who in {DEVELOPER, SPECTATOR}:
            assert behind.managed.theirs.id not in response.text
            assert "HIDDEN" not in response.text
        if who == STRANGER:
            assert behind.managed.ours.id not in response.text

    run()
