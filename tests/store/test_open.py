"""A store is opened whole or not at all: what is wrong is said in a sentence, and nothing is made in its place."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.store.contract import StoreBroken, StoreUnavailable
from gateway.store.database import write_ahead
from gateway.store.file import require_sqlite
from gateway.store.migrations import APPLICATION_ID, MIGRATIONS
from gateway.store.open import open_store
from tests.store import acts
from tests.store.acts import do
from tests.store.place import APP, the_app

READONLY = "cannot be written; it, its directory and its -wal and -shm files must be writable."
ROOT = Path(__file__).parents[2]


def refusal(path: Path | str, *, create: bool = False) -> str:
    """The sentence with which a store is not opened."""
    with pytest.raises(StoreUnavailable) as refused:
        open_store(f"sqlite:///{path}", create=create)
    return str(refused.value)


def entries(directory: Path) -> list[str]:
    """The names of what is in a directory."""
    return sorted(entry.name for entry in directory.iterdir())


@pytest.mark.parametrize(
    "name", ["store.db", "with space.db", "100%.db", "a%20b.db", "what?.db", "a#b&c=d.db", "søn.db"]
)
@pytest.mark.parametrize("relative", [True, False])
async def test_the_path_is_taken_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, relative: bool
) -> None:
    """The store would be looked for in another place than the settings say."""
    monkeypatch.chdir(tmp_path)
    store = open_store(f"sqlite:///{name}" if relative else f"sqlite:///{tmp_path}/{name}", create=True)
    await do(store, acts.make_app(APP))
    monkeypatch.chdir("/")
    assert await the_app(store) == APP
    await store.close()
    assert entries(tmp_path) == [name]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://host/store.db",
        "sqlite:store.db",
        "SQLITE:///store.db",
        "memory",
        "memory:x",
        "memory://",
        "/var/lib/store.db",
        "postgres://user:hunter2@host/db",
        "redis-cluster://user:hunter2@host/0",
        "hunter2hunter2hunter2://host",
    ],
)
def test_any_other_url_is_refused_and_not_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A slip in the settings would start an empty store somewhere, or print the password in the URL."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreBroken, match="not one of 'sqlite:///path', 'memory:' and 'redis://host:port'") as refused:
        open_store(url, create=True)
    assert "hunter2@" not in str(refused.value)
    assert entries(tmp_path) == []


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:1",
        "rediss://127.0.0.1:1/2",
        "redis+sentinel://127.0.0.1:1,127.0.0.1:2/main",
        "rediss+cluster://127.0.0.1:1,127.0.0.1:2",
    ],
)
async def test_redis_is_not_connected_to_when_it_is_opened(url: str) -> None:
    """A gateway would not start while its Redis is down, where it is to listen and answer 503."""
    store = open_store(url)
    await store.close()


@pytest.mark.parametrize("url", ["redis://user:hunter2@127.0.0.1:1/0", "rediss+sentinel://:hunter2@127.0.0.1:1/main"])
def test_a_password_in_a_url_is_refused_and_not_quoted(url: str) -> None:
    """A password would be printed with the settings, or stand in the list of processes."""
    with pytest.raises(StoreBroken, match=r"store\.password_file") as refused:
        open_store(url)
    assert "hunter2" not in str(refused.value)


def test_only_who_uses_redis_waits_for_its_client() -> None:
    """Each command on an SQLite file would take the time of an import that it does not need."""
    script = (
        "import asyncio, sys\n"
        "from gateway.store.open import open_store\n"
        "asyncio.run(open_store('memory:').close())\n"
        "print([name for name in sys.modules if 'redis' in name])\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_a_missing_store_is_not_made_unasked(path: Path) -> None:
    """A mistyped path would become a gateway that turns everybody away."""
    assert refusal(path) == (
        f"There is no store at {path}; check the path, or make one with 'gateway store init --config FILE'."
    )
    assert "There is no store" in refusal(path.parent / "missing" / "store.db")
    assert entries(path.parent) == []


def modes(directory: Path) -> dict[str, int]:
    """The modes of a directory and of what is in it."""
    return {entry.name: entry.stat().st_mode & 0o777 for entry in [directory, *directory.iterdir()]}


async def test_a_new_store_is_for_its_owner_only(tmp_path: Path) -> None:
    """Everybody with an account on the machine could read who may do what."""
    before = os.umask(0)
    try:
        store = open_store(f"sqlite:///{tmp_path}/deep/data/store.db", create=True)
        await do(store, acts.make_app(APP))
    finally:
        os.umask(before)
    files = {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
    assert modes(tmp_path / "deep" / "data") == {"data": 0o700, **files}
    await store.close()


async def test_what_exists_is_opened_and_never_made_anew(made: Path) -> None:
    """Starting the gateway would wipe its keys."""
    store = open_store(f"sqlite:///{made}", create=True)
    assert await the_app(store) == APP
    await store.close()


def test_many_that_make_it_at_once_make_one(path: Path) -> None:
    """Two commands started together would each make a store, and the keys of one be lost."""
    script = (
        "import asyncio, sys\n"
        "from gateway.store.open import open_store\n"
        "from gateway.core.records import App\n"
        "from tests.store import acts\n"
        "async def main(path, app_id):\n"
        "    store = open_store(f'sqlite:///{path}', create=True, patience=60)\n"
        "    await acts.do(store, acts.make_app(App(app_id, 'rival', 'eu')))\n"
        "    await store.close()\n"
        "asyncio.run(main(*sys.argv[1:]))\n"
    )
    rivals = [
        subprocess.Popen([sys.executable, "-c", script, str(path), f"{number:024x}"], cwd=ROOT) for number in range(4)
    ]
    assert [rival.wait() for rival in rivals] == [0, 0, 0, 0]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM app").fetchall() == [(4,)]
    assert entries(path.parent) == ["store.db"]


def not_a_database(path: Path) -> None:
    """A text file."""
    path.write_text("These are not the keys you are looking for.\n" * 100)


def empty(path: Path) -> None:
    """A file without content, as a full disk leaves it."""
    path.touch()


def a_directory(path: Path) -> None:
    """A directory."""
    path.mkdir()


def a_pipe(path: Path) -> None:
    """A named pipe, from which reading would never return."""
    os.mkfifo(path)


def of_another_program(path: Path) -> None:
    """A database that is not ours."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE app (id TEXT)")


def of_a_newer_version(path: Path) -> None:
    """A store that a later version of the gateway has migrated."""
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        database.execute("CREATE TABLE app (id TEXT)")


def a_loop(path: Path) -> None:
    """A symbolic link to itself."""
    path.symlink_to(path)


def a_log_alone(path: Path) -> None:
    """The write-ahead log of a database that is gone."""
    path.with_name(f"{path.name}-wal").write_bytes(b"log")


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (not_a_database, "The store {path} is not a database."),
        (empty, "The store {path} is empty; restore it from a backup, or remove it if it never held keys."),
        (a_directory, "The store {path} is not a file."),
        (a_pipe, "The store {path} is not a file."),
        (of_another_program, "{path} is a database, but not a store of the gateway."),
        (of_a_newer_version, "The store {path} was written by a newer version of the gateway; install that one."),
        (a_loop, "The store {path} cannot be reached: Too many levels of symbolic links."),
        (a_log_alone, "{path}-wal is there and its database {path} is not; restore it from a backup."),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_no_store_is_refused_and_left_as_it_is(
    path: Path, make: Callable[[Path], None], sentence: str, create: bool
) -> None:
    """The gateway would start with no keys in place of the ones it should have, or spoil another program's data."""
    make(path)
    before = contents(path.parent)
    assert refusal(path, create=create) == sentence.format(path=path)
    assert contents(path.parent) == before


def test_a_link_to_nowhere_is_not_replaced(path: Path) -> None:
    """A store on a disk that is not mounted would be replaced by an empty one."""
    path.symlink_to(path.with_name("unmounted.db"))
    assert refusal(path, create=True) == f"The store {path} cannot be reached: No such file or directory."
    assert path.is_symlink()
    assert entries(path.parent) == ["store.db"]


def contents(directory: Path) -> dict[str, bytes]:
    """What is in a directory, as far as it can be read."""
    return {entry.name: entry.read_bytes() if entry.is_file() else b"" for entry in directory.iterdir()}


@pytest.mark.parametrize("page", [1, 2, 5, 9, -1])
def test_a_damaged_page_is_met_at_the_start(made: Path, page: int) -> None:
    """The gateway would start, and answer some good keys with 503 until somebody looks."""
    image = bytearray(made.read_bytes())
    start = page * 4096 if page > 0 else len(image) - 4096
    image[start : start + 4096] = b"\xa5" * 4096
    made.write_bytes(image)
    assert refusal(made) == f"The store {made} is damaged; restore it from a backup."
    assert made.read_bytes() == image


@pytest.fixture
def cut(made: Path) -> Path:
    """The path of a store whose second half is missing."""
    image = made.read_bytes()
    made.write_bytes(image[: len(image) // 2])
    return made


def test_a_cut_file_is_met_at_the_start(cut: Path) -> None:
    """As above, for a copy that was not finished."""
    assert refusal(cut) == f"The store {cut} is damaged; restore it from a backup."


def test_a_failed_opening_leaves_nothing_open(cut: Path) -> None:
    """A gateway that tries again and again would run out of descriptors."""
    before = entries(Path("/dev/fd"))
    for _ in range(3):
        refusal(cut)
    assert entries(Path("/dev/fd")) == before


@pytest.fixture
def wiped_in_part(made: Path) -> Path:
    """The path of a store in which the first page of the keys is damaged."""
    with closing(sqlite3.connect(made)) as database:
        ((page,),) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'api_key'").fetchall()
    image = bytearray(made.read_bytes())
    image[(page - 1) * 4096 : page * 4096] = b"\xa5" * 4096
    made.write_bytes(image)
    return made


async def test_a_store_too_large_to_check_whole_is_opened(wiped_in_part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway with millions of keys would take minutes to start, or take damage for an unknown key later."""
    monkeypatch.setattr("gateway.store.file.CHECKED_BYTES", 4096)
    store = open_store(f"sqlite:///{wiped_in_part}")
    with pytest.raises(StoreBroken, match="is damaged; restore it from a backup"):
        await store.find_key("5a00000000000001")
    await store.close()


def journal_mode(path: Path) -> str:
    """How a database keeps its changes until they are in the file."""
    with closing(sqlite3.connect(path)) as database:
        ((mode,),) = database.execute("PRAGMA journal_mode").fetchall()
    return str(mode)


async def test_a_backup_in_another_journal_mode_is_taken(made: Path) -> None:
    """A store restored from `VACUUM INTO` could not be shared by the gateway and its commands."""
    copy = made.with_name("copy.db")
    with closing(sqlite3.connect(made)) as database:
        database.execute("VACUUM INTO ?", (str(copy),))
    assert journal_mode(copy) == "delete"
    store, other = open_store(f"sqlite:///{copy}"), open_store(f"sqlite:///{copy}")
    assert journal_mode(copy) == "wal"
    before = store.revision()
    await do(other, acts.switch_app(APP.id, disabled=True))
    assert store.revision() == before + 1
    await store.close()
    await other.close()


def test_a_file_system_without_shared_memory_is_named(path: Path) -> None:
    """Two processes on such a file system would not see each other's revocations, or damage the file."""
    with closing(sqlite3.connect(":memory:")) as database, pytest.raises(StoreBroken, match="file system"):
        write_ahead(database, path)


def test_an_old_sqlite_is_named() -> None:
    """On an old system the gateway would fail with an error about the word STRICT."""
    require_sqlite((3, 38, 0))
    with pytest.raises(StoreBroken, match=r"^SQLite 3.38.0 or newer is needed, and Python was built with 3.34.1.$"):
        require_sqlite((3, 34, 1))


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Without root's rights, which no mode of a file stops."""
    if os.getuid() != 0:
        yield
        return
    if not hasattr(os, "setresuid"):
        pytest.skip("root cannot be laid down here")
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that everybody may enter."""
    directory = Path(os.path.realpath("/tmp")) / f"gateway-test-{os.getpid()}"  # noqa: S108 - pytest's own is closed
    directory.mkdir(mode=0o755)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    ("file_mode", "directory_mode", "sentence"),
    [
        (0o000, 0o755, "The store {path} may not be read and written by this user; check its permissions."),
        (0o444, 0o755, "The store {path} may not be read and written by this user; check its permissions."),
        (0o666, 0o000, "The store {path} cannot be reached: Permission denied."),
        (0o666, 0o555, f"The store {{path}} {READONLY}"),
    ],
)
def test_what_may_not_be_opened_is_refused(
    open_place: Path, make: Callable[[Path], None], file_mode: int, directory_mode: int, sentence: str
) -> None:
    """A gateway run by the wrong user would start, and fail at its first write."""
    path = open_place / "store.db"
    make(path)
    path.chmod(file_mode)
    open_place.chmod(directory_mode)
    with as_somebody_else():
        assert refusal(path) == sentence.format(path=path)
        assert refusal(path, create=True) == sentence.format(path=path)


def test_where_nothing_may_be_made_nothing_is(open_place: Path) -> None:
    """The command would end in a stack trace."""
    open_place.chmod(0o555)
    with as_somebody_else():
        assert "cannot be reached: Permission denied" in refusal(open_place / "store.db", create=True)
        assert "cannot be reached: Permission denied" in refusal(open_place / "new" / "store.db", create=True)
    assert entries(open_place) == []


async def test_a_store_that_is_not_the_one_that_is_meant_is_not_opened(made: Path) -> None:
    """A file put in the place of another would be served, and every key of the other be unknown."""
    store = open_store(f"sqlite:///{made}")
    identity = await store.identity()
    await store.close()

    await open_store(f"sqlite:///{made}", identity=identity).close()

    with pytest.raises(StoreBroken, match=r"store\.identity"):
        open_store(f"sqlite:///{made}", identity="0" * 32)
