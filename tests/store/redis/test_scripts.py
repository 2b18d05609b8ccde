"""What reaches the servers: one slot in each step, and nothing that Redis 6.2 does not know."""

import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.core.ledger import Item, ItemKind
from gateway.core.records import Role
from gateway.store.contract import REQUESTS
from gateway.store.redis import scripts
from gateway.store.redis.founding import init
from gateway.store.redis.scripts import Script
from tests.store import acts
from tests.store.acts import do
from tests.store.checks_items import CODE
from tests.store.checks_items import keep as keep_items
from tests.store.place import APP, KEY_ID, OTHER_APP, TOKEN_ID, USER_ID, everything, fill, hearing, listed
from tests.support.redis_servers import Servers
from tests.support.redis_stores import PATIENT, store_at

SCRIPTS = {name: value for name, value in vars(scripts).items() if isinstance(value, Script)}
FOREIGN = f"{'ab' * 16}/7b"
INCIDENT = Item(ItemKind.INCIDENT, "5a01", APP.id, "{}")
EVENT = AuditEvent(1, AuditAction.KEY_REVOKED, OTHER_APP.id, "7b01", "tester")


async def do_everything(url: str) -> None:
    """Call every method of the store, in all the ways that make a difference to it."""
    await init(url, PATIENT)
    async with store_at(url) as store:
        await hearing(store)
        await fill(store)
        await do(
            store,
            acts.rotate(APP.id, KEY_ID, "5a000000000000c1"),
            acts.make_key(APP.id, "7b000000000000c1"),
            acts.make_token(APP.id, "fe000000000000c1", None, "customer-18", new_user_id="5au1"),
            acts.grant(APP.id, "a@example.com", Role.DEVELOPER),
            acts.remove(APP.id, "a@example.com"),
            acts.switch_user(APP.id, USER_ID, disabled=True),
            acts.end_user_tokens(APP.id, USER_ID),
            acts.end_app_tokens(OTHER_APP.id),
            acts.switch_app(OTHER_APP.id, disabled=True),
            acts.revoke_all(APP.id),
        )
        for credential_id in (KEY_ID, "7b000000000000c1", TOKEN_ID, "fe000000000000c1", "ab000000000000c1"):
            await store.find_key(credential_id)
            await store.find_user_token(credential_id)
        await do(store, keep_items(CODE, INCIDENT), keep_items(CODE), keep_items(dropped=(INCIDENT.key,)))
        await store.find_item(*CODE.key)
        await store.find_user(APP.id, USER_ID)
        await listed(store.items(CODE.kind))
        await listed(store.items(CODE.kind, APP.id))
        assert await store.sweep() == 1
        await store.note_uses({(KEY_ID, 1, REQUESTS): 1})
        await store.note_uses({(KEY_ID, 200, REQUESTS): 1, ("7b000000000000c1", 200, REQUESTS): 1})
        assert len(await store.uses([KEY_ID, "7b000000000000c1"])) == 2
        await everything(store)
        for app_id in (APP.id, OTHER_APP.id):
            await listed(store.keys(app_id))
            await listed(store.users(app_id))
            await listed(store.developers(app_id))
        for chain in await store.unsealed():
            assert await store.append_seal(Seal(chain, 1, 2, 3, "d"))
            assert await store.last_seal(chain) is not None
            assert await listed(store.seals(chain))
            assert await listed(store.events(chain, 1)) is not None
        await store.keep_chain(FOREIGN, [Numbered(FOREIGN, 2, EVENT)], [Seal(FOREIGN, 1, 2, 3, "d")])
        await store.keep_chain(FOREIGN, [Numbered(FOREIGN, 1, EVENT)], [])
        assert await store.lease("seal", "me", 1)
        await store.note_used({KEY_ID: 1, "7b000000000000c1": 2})
        assert await store.last_used([KEY_ID, "7b000000000000c1"])
        await store.identity()
        await store.ping()
        store.warnings()


def forget_scripts(servers: Servers) -> None:
    """As after a restart."""
    for server in servers.primaries:
        server.run("SCRIPT", "FLUSH")


def steps(lines: list[str]) -> Iterator[list[str]]:
    """Commands with what their scripts called."""
    step: list[str] = []
    for line in lines:
        if line.startswith("lua "):
            step.append(line.removeprefix("lua "))
        else:
            yield step
            step = [line]
    yield step


async def test_every_step_stays_in_one_slot(servers: Servers) -> None:
    """In a cluster some acts would fail, or leave half of what they wrote when a slot is moved."""
    forget_scripts(servers)
    with ExitStack() as stack:
        monitored = [stack.enter_context(server.monitored()) for server in servers.primaries]
        await do_everything(servers.url)
    found = [step for lines in monitored for step in steps(lines) if any("{" in line for line in step)]
    assert {command for step in found for command in [step[0].partition(" ")[0]]} >= {
        "EVALSHA",
        "EVAL",
        "GET",
        "LRANGE",
    }
    for step in found:
        names = [name for line in step for name in re.findall(r"\{([^}\"' ]*)\}:[a-z]", line)]
        assert len(set(names)) <= 1, step


async def test_every_command_is_known_to_redis_6_2(servers: Servers) -> None:
    """The store would fail on the oldest servers that it is said to work on."""
    forget_scripts(servers)
    for server in servers.primaries:
        server.run("CONFIG", "RESETSTAT")
    await do_everything(servers.url)
    used = {
        name.removeprefix("cmdstat_").partition("|")[0]
        for server in servers.primaries
        for name in server.info("commandstats")
    }
    assert {"evalsha", "eval", "publish", "subscribe"} <= used
    for name in used:
        assert since_of(servers.primaries[0].run("COMMAND DOCS", name)) <= (6, 2), name


def since_of(documented: list[object]) -> tuple[int, ...]:
    """Since which version there is a command, by its documentation."""
    _, entry = documented
    assert isinstance(entry, list)
    texts = [part.decode() if isinstance(part, bytes) else "" for part in entry]
    return tuple(map(int, texts[texts.index("since") + 1].split(".")[:2]))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_known_by_its_digest(servers: Servers, name: str) -> None:
    """Each call of it would send the whole text."""
    assert servers.primaries[0].run("SCRIPT", "LOAD", SCRIPTS[name].text) == SCRIPTS[name].sha.encode()


async def test_a_server_that_forgot_the_scripts_is_told_again(servers: Servers) -> None:
    """After a restart of Redis nothing would work until the gateway is restarted too."""
    await init(servers.url, PATIENT)
    async with store_at(servers.url) as store:
        await fill(store)
        for act in (acts.rename(APP.id, KEY_ID, "another"), acts.revoke(APP.id, KEY_ID)):
            forget_scripts(servers)
            await do(store, act)
        assert len([one for one in await everything(store) if "key.revoked" in repr(one)]) == 1
