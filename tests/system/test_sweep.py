"""The search for secrets itself: one that finds nothing proves nothing."""

from pathlib import Path

from tests.support.minting import stray
from tests.support.sweep import Sweep


def test_a_planted_token_is_found(tmp_path: Path) -> None:
    """Tokens would lie in stores and logs, and every test would say that they do not."""
    token, other = stray(), stray("gwu")
    secret = token.partition(".")[2].encode()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "store.db-wal").write_bytes(b"\0\xff" + secret + b"\0")
    (tmp_path / "gateway.err").write_bytes(b"Bearer " + token.encode())
    (tmp_path / "credentials.json").write_text(token)
    (tmp_path / "clean.log").write_text(token.partition(".")[0])
    sweep = Sweep()
    assert not sweep.used
    sweep.add(tmp_path, [token, other])
    assert sweep.used
    assert sorted(found.partition(":")[0] for found in sweep.found()) == ["gateway.err", "store.db-wal"]
