"""The memory of analysed documents."""

import pytest

from gateway.core.decision import Refused
from gateway.core.document import DocumentLimits
from gateway.core.policy import Options
from gateway.core.schema import compile_policy
from gateway.proxy.documents import Documents

POLICY = compile_policy(
    "type Query { a: Int @authenticated b: Int @authenticated v(of: [ID] @ownUser): Int @authenticated }", Options()
)
MANY = 1_000


def documents(*, entries: int = MANY, room: int = 1_000_000, longest: int = MANY) -> Documents:
    """An empty memory."""
    return Documents(POLICY, DocumentLimits(), entries=entries, room=room, longest=longest)


def known(memory: Documents, text: str, name: str | None = None) -> bool:
    """Whether a document is remembered; if not, it is from now on."""
    before = memory.hits
    memory.operation(text, name)
    return memory.hits > before


def test_a_document_is_analysed_once() -> None:
    """Every request would cost the parsing of its document."""
    memory = documents()
    first = memory.operation("{ a }", None)
    assert memory.operation("{ a }", None) is first
    assert (memory.hits, memory.misses) == (1, 1)


def test_operations_of_a_document_are_told_apart() -> None:
    """One operation of a document would be judged in place of another."""
    memory = documents()
    both = "query A { a } query B { b }"
    for _ in range(2):
        assert memory.operation(both, "A").names["root_fields"] == ("a",)
        assert memory.operation(both, "B").names["root_fields"] == ("b",)
    assert (memory.hits, memory.misses) == (2, 2)


def test_entries_are_bounded() -> None:
    """Callers with new documents would fill the gateway's memory."""
    memory = documents(entries=3)
    texts = [f"{{ a{' ' * number}}}" for number in range(5)]
    for text in texts:
        assert not known(memory, text)
    assert [known(memory, text) for text in reversed(texts[2:])] == [True, True, True]
    assert not known(memory, texts[0])


def test_room_is_bounded() -> None:
    """Callers with long documents would fill the gateway's memory."""
    memory = documents(room=1_200)
    texts = [letter.join(("{ ", f": a {' ' * 492}}}")) for letter in "pqr"]
    assert {len(text) for text in texts} == {500}
    for text in texts:
        assert not known(memory, text)
    assert known(memory, texts[2])
    assert known(memory, texts[1])
    assert not known(memory, texts[0])


@pytest.mark.parametrize(
    "text",
    [
        f"{{ {' '.join(f'c{number}' for number in range(20))} }}",
        f"{{ v(of: [{'1 ' * 40}]) }}",
        f"{{ v(of: [{'{ a: 1 } ' * 20}]) }}",
    ],
)
def test_what_is_kept_of_a_document_takes_room_too(text: str) -> None:
    """Short documents about which much is found, or with many values, would fill the gateway's memory."""
    memory = documents(room=10_000)
    assert not known(memory, "{ a }")
    assert known(memory, "{ a }")
    assert not known(memory, text)
    assert not known(memory, "{ a }")


def test_long_documents_are_not_remembered() -> None:
    """Whoever sends a new long document each time would push out everybody else's."""
    memory = documents(longest=20)
    exact, longer = "{ a }".ljust(20), "{ a }".ljust(21)
    assert not known(memory, exact)
    assert known(memory, exact)
    assert not known(memory, longer)
    assert not known(memory, longer)


@pytest.mark.parametrize("text", ["{", "fragment F on Query { a }", "query A { a } query B { a }"])
def test_refusals_are_not_remembered(text: str) -> None:
    """Documents that are refused would take the place of those that are not."""
    memory = documents(entries=1)
    memory.operation("{ a }", None)
    for _ in range(2):
        with pytest.raises(Refused):
            memory.operation(text, None)
    assert known(memory, "{ a }")
