"""Seals: whatever is done to what was sealed is found and named, and what is not sealed is counted."""

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.core.audit import AuditAction, AuditEvent, Numbered, Seal
from gateway.core.seal import AuditBroken, Checker, Finding, Flaw, Run, event_bytes, signed_bytes
from tests.support.chains import CHAIN, Chain, chains, found, judge, numbered, sealed, signature
from tests.support.examples import many

EVENT = AuditEvent(1_790_000_000_000, AuditAction.KEY_REVOKED, "app", "k1", "cli:ann", "cli", 'why "é"')


def what(finding: Finding | None) -> tuple[Flaw, int, int] | None:
    """A finding without its sentence."""
    return finding and (finding.flaw, finding.first, finding.last)


def changed(event: Numbered, choice: int) -> Numbered:
    """The event with one of its values changed; its number stays."""
    values = event.event
    field = ("at", "action", "app_id", "subject_id", "actor", "source", "about")[choice]
    if field == "at":
        return replace(event, event=replace(values, at=values.at + 1))
    if field == "action":
        other = next(action for action in AuditAction if action is not values.action)
        return replace(event, event=replace(values, action=other))
    return replace(event, event=replace(values, **{field: getattr(values, field) + "x"}))


# What is written, so that others can verify it ------------------------------------------------------------------------


def test_events_and_seals_are_written_one_way() -> None:
    """A release writes events otherwise, and what was sealed by the one before looks forged."""
    event = Numbered(CHAIN, 7, EVENT)
    seal = Seal(CHAIN, 7, 7, 1_790_000_001_000, digest="ab" * 32, signature="cd", signer="ef")

    assert event_bytes(event) == (
        b'{"about":"why \\"\\u00e9\\"","action":"key.revoked","actor":"cli:ann","app":"app","at":1790000000000,'
        b'"number":7,"source":"cli","subject":"k1"}'
    )
    assert signed_bytes(seal) == (
        b'gateway audit seal 1\n{"at":1790000001000,"chain":"c0ffee/main","digest":"' + b"ab" * 32 + b'",'
        b'"first":7,"last":7}'
    )


def test_digests_are_made_one_way() -> None:
    """A release computes digests otherwise, and what was sealed by the one before looks forged."""
    head = b'{"at":%d,"chain":"c0ffee/main","first":%d,"last":%d}'
    before = Seal(CHAIN, 1, 1, 5, digest="ab" * 32, signature="cd", signer="ef")
    whole = b'{"at":5,"chain":"c0ffee/main","digest":"%b","first":1,"last":1,"signature":"cd","signer":"ef"}' % (
        b"ab" * 32
    )
    events = [Numbered(CHAIN, number, EVENT) for number in (1, 2, 3)]

    assert digest(None, Seal(CHAIN, 1, 1, 5, ""), events[:1]) == sha256_of(
        bytes(32), head % (5, 1, 1), event_bytes(events[0])
    )
    assert digest(before, Seal(CHAIN, 2, 3, 6, ""), events[1:]) == sha256_of(
        sha256(whole).digest(), head % (6, 2, 3), event_bytes(events[1]), event_bytes(events[2])
    )


def digest(before: Seal | None, seal: Seal, events: Iterable[Numbered]) -> str:
    """The digest of a seal over events."""
    run = Run(before, seal)
    for event in events:
        run.add(event_bytes(event))
    return run.digest()


def sha256_of(*parts: bytes) -> str:
    """SHA-256 over parts, each with its length before it."""
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).hexdigest()


# Nothing wrong --------------------------------------------------------------------------------------------------------


@many
@given(chains(seals=0), st.booleans())
def test_a_chain_that_nobody_touched_is_whole(chain: Chain, signatures: bool) -> None:
    """An auditor is alarmed by a store in which nothing is wrong, or not told how much nobody vouches for."""
    finding, checker = found(chain.events, chain.seals, judge if signatures else None, chain.told)

    assert finding is None
    assert (checker.events, checker.seals, checker.signed) == (len(chain.events), len(chain.seals), len(chain.seals))
    assert checker.unsealed == len(chain.events) - chain.sealed


@given(chains(signed=False), st.data())
def test_a_signature_vouches_for_all_that_is_before(chain: Chain, data: st.DataObject) -> None:
    """Whoever begins to sign a store of last year could never verify it."""
    lengths = [seal.last - seal.first + 1 for seal in chain.seals]
    part = data.draw(st.integers(0, len(lengths)))
    before = sealed(chain.events, lengths, signed=False)
    assert before == chain.seals
    mixed = list(before[:part])
    for length in lengths[part:]:
        mixed.append(_next_signed(chain, mixed, length))

    finding, _ = found(chain.events, mixed)

    assert what(finding) == ((Flaw.SIGNATURE_MISSING, 1, chain.sealed) if part == len(lengths) else None)


def _next_signed(chain: Chain, before: list[Seal], length: int) -> Seal:
    first = before[-1].last + 1 if before else 1
    seal = Seal(CHAIN, first, first + length - 1, at=0, digest="")
    made = digest(before[-1] if before else None, seal, chain.events[first - 1 : seal.last])
    seal = replace(seal, digest=made, signer="our key")
    return replace(seal, signature=signature(seal))


# Events ---------------------------------------------------------------------------------------------------------------


@many
@given(chains(), st.booleans(), st.data())
def test_a_changed_event_is_found(chain: Chain, signatures: bool, data: st.DataObject) -> None:
    """Somebody writes another name over who revoked a key."""
    place = data.draw(st.integers(0, chain.sealed - 1))
    events = list(chain.events)
    events[place] = changed(events[place], data.draw(st.integers(0, 6)))
    run = chain.covering(place + 1)

    finding, checker = found(events, chain.seals, judge if signatures else None)

    assert what(finding) == (Flaw.EVENT_CHANGED, run.first, run.last)
    assert finding is not None
    assert ("or their seal" in finding.sentence) is not signatures
    assert checker.seals == chain.seals.index(run)


@given(chains(), st.data())
def test_an_event_that_is_gone_is_found(chain: Chain, data: st.DataObject) -> None:
    """Somebody removes what tells of his act; only the very last event can go before it is sealed."""
    place = data.draw(st.integers(0, len(chain.events) - (1 if chain.sealed == len(chain.events) else 2)))

    finding, _ = found((*chain.events[:place], *chain.events[place + 1 :]), chain.seals)

    assert what(finding) == (Flaw.EVENT_MISSING, place + 1, place + 1)


@given(chains(), st.data())
def test_a_chain_that_was_cut_off_is_found(chain: Chain, data: st.DataObject) -> None:
    """Somebody removes all events since a day."""
    rest = data.draw(st.integers(0, chain.sealed - 1))

    finding, _ = found(chain.events[:rest], chain.seals)

    assert what(finding) == (Flaw.EVENT_MISSING, rest + 1, chain.covering(rest + 1).last)


@given(chains(), st.booleans(), st.data())
def test_an_event_that_was_put_in_is_found(chain: Chain, renumbered: bool, data: st.DataObject) -> None:
    """Somebody adds an act that never was to what was sealed."""
    place = data.draw(st.integers(0, chain.sealed - 1))
    stranger = Numbered(CHAIN, place + 1, EVENT)
    assume(event_bytes(stranger) != event_bytes(chain.events[place]))
    events = [*chain.events[:place], stranger, *chain.events[place:]]
    if renumbered:
        events = list(numbered(event.event for event in events))
        assume(events[place + 1 :] != list(chain.events[place + 1 :]))
    run = chain.covering(place + 1)

    finding, _ = found(events, chain.seals)

    misplaced = (Flaw.EVENT_MISPLACED, place + 1, place + 1)
    altered = (Flaw.EVENT_CHANGED, run.first, run.last)
    assert what(finding) == (altered if renumbered or place + 1 == run.last else misplaced)


@given(chains(), st.data())
def test_events_that_changed_places_are_found(chain: Chain, data: st.DataObject) -> None:
    """Somebody lets a key have been revoked before it was used."""
    assume(len(chain.events) > 1)
    one, other = sorted(data.draw(st.sets(st.integers(0, len(chain.events) - 1), min_size=2, max_size=2)))
    events = list(chain.events)
    events[one], events[other] = events[other], events[one]

    finding, _ = found(events, chain.seals)

    assert what(finding) == (Flaw.EVENT_MISSING, one + 1, other)


@given(chains(), st.data())
def test_events_that_changed_contents_are_found(chain: Chain, data: st.DataObject) -> None:
    """Somebody moves what was done from one number to another."""
    assume(len(chain.events) > 1)
    one, other = sorted(data.draw(st.sets(st.integers(0, len(chain.events) - 1), min_size=2, max_size=2)))
    assume(one < chain.sealed and chain.events[one].event != chain.events[other].event)
    contents = [event.event for event in chain.events]
    contents[one], contents[other] = contents[other], contents[one]
    run = chain.covering(one + 1)

    finding, _ = found(numbered(contents), chain.seals)

    assert what(finding) == (Flaw.EVENT_CHANGED, run.first, run.last)


@given(chains(seals=0), st.data())
def test_what_is_not_sealed_is_counted_and_not_vouched_for(chain: Chain, data: st.DataObject) -> None:
    """An auditor believes that the newest events are protected already."""
    assume(chain.sealed < len(chain.events))
    place = data.draw(st.integers(chain.sealed, len(chain.events) - 1))
    events = list(chain.events)
    events[place] = changed(events[place], 0)

    finding, checker = found(events, chain.seals)

    assert (finding, checker.unsealed) == (None, len(chain.events) - chain.sealed)


# Seals ----------------------------------------------------------------------------------------------------------------


@many
@given(chains(), st.sampled_from(["first", "last", "at", "digest", "chain", "signature", "signer"]), st.data())
def test_a_changed_seal_is_found(chain: Chain, field: str, data: st.DataObject) -> None:
    """Somebody makes a seal fit what he changed."""
    place = data.draw(st.integers(0, len(chain.seals) - 1))
    seal = chain.seals[place]
    value = getattr(seal, field)
    other = value + data.draw(st.sampled_from([-1, 1])) if isinstance(value, int) else "0" + value[1:] + "1"
    seals = [*chain.seals[:place], replace(seal, **{field: other}), *chain.seals[place + 1 :]]

    finding, checker = found(chain.events, seals)

    assert finding is not None
    assert checker.seals == place
    expected = {
        "chain": {Flaw.SEAL_BROKEN},
        "first": {Flaw.SEAL_BROKEN, Flaw.SEAL_MISSING, Flaw.SEAL_MISPLACED},
        "last": {Flaw.SEAL_BROKEN, Flaw.SIGNATURE_FALSE},
        "signer": {Flaw.SIGNER_UNKNOWN},
    }
    assert finding.flaw in expected.get(field, {Flaw.SIGNATURE_FALSE})


@given(chains(seals=2, signed=False), st.sampled_from(["at", "digest", "signature", "signer"]), st.data())
def test_a_changed_seal_is_found_without_signatures(chain: Chain, field: str, data: st.DataObject) -> None:
    """Seals that are not signed could be changed without the later ones telling of it."""
    place = data.draw(st.integers(0, len(chain.seals) - 2))
    value = getattr(chain.seals[place], field)
    other = value + 1 if isinstance(value, int) else value + "1"
    seals = [*chain.seals[:place], replace(chain.seals[place], **{field: other}), *chain.seals[place + 1 :]]
    run = chain.seals[place + 1 if field in {"signature", "signer"} else place]

    finding, _ = found(chain.events, seals, None)

    assert what(finding) == (Flaw.EVENT_CHANGED, run.first, run.last)
    assert finding is not None
    assert "or their seal or the one before" in finding.sentence


@given(chains(), st.data())
def test_a_seal_that_is_gone_is_found(chain: Chain, data: st.DataObject) -> None:
    """Somebody removes a seal that no longer fits; the last one is missed by the log alone."""
    place = data.draw(st.integers(0, len(chain.seals) - 1))
    gone = chain.seals[place]
    seals = chain.seals[:place] + chain.seals[place + 1 :]

    finding, checker = found(chain.events, seals, told=chain.told)

    if gone is not chain.seals[-1]:
        assert what(finding) == (Flaw.SEAL_MISSING, gone.first, gone.last)
    else:
        assert what(finding) == (Flaw.CHAIN_REWRITTEN, gone.last, gone.last)
        assert checker.unsealed == len(chain.events) - gone.first + 1


@given(chains(), st.data())
def test_a_seal_that_stands_twice_is_found(chain: Chain, data: st.DataObject) -> None:
    """A second seal over what has one could vouch for something else."""
    seal = data.draw(st.sampled_from(chain.seals))
    place = data.draw(st.integers(chain.seals.index(seal), len(chain.seals) - 1)) + 1

    finding, _ = found(chain.events, [*chain.seals[:place], seal, *chain.seals[place:]])

    assert what(finding) == (Flaw.SEAL_MISPLACED, seal.first, seal.last)


@given(chains(seals=2), st.data())
def test_seals_that_changed_places_are_found(chain: Chain, data: st.DataObject) -> None:
    """Seals out of order could hide one that is missing."""
    one, other = data.draw(st.sampled_from(list(pairwise(chain.seals))))
    seals = [other if seal is one else one if seal is other else seal for seal in chain.seals]

    finding, _ = found(chain.events, seals)

    assert what(finding) == (Flaw.SEAL_MISSING, one.first, one.last)


@given(chains(), st.data())
def test_a_signature_that_was_taken_off_is_found(chain: Chain, data: st.DataObject) -> None:
    """Somebody who does not have the key takes the signatures away with which his change does not agree."""
    place = data.draw(st.integers(0, len(chain.seals) - 1))
    bare = replace(chain.seals[place], signature="", signer="")

    finding, _ = found(chain.events, [*chain.seals[:place], bare, *chain.seals[place + 1 :]])

    if bare.last == chain.sealed:
        assert what(finding) == (Flaw.SIGNATURE_MISSING, bare.first, bare.last)
    else:
        run = chain.seals[place + 1]
        assert what(finding) == (Flaw.EVENT_CHANGED, run.first, run.last)
        assert finding is not None
        assert "or the one before" in finding.sentence


@given(chains(signed=False), st.booleans(), st.data())
def test_a_chain_that_was_made_anew_is_found(chain: Chain, by_signature: bool, data: st.DataObject) -> None:
    """Somebody who can write everything in the store changes an event and makes all seals fit, without the key."""
    place = data.draw(st.integers(0, chain.sealed - 1))
    events = list(chain.events)
    events[place] = changed(events[place], data.draw(st.integers(0, 6)))
    seals = sealed(events, [seal.last - seal.first + 1 for seal in chain.seals], signed=False)
    run = chain.covering(place + 1)

    finding, _ = found(events, seals, judge if by_signature else None, [] if by_signature else chain.told)

    if by_signature:
        assert what(finding) == (Flaw.SIGNATURE_MISSING, 1, chain.sealed)
    else:
        assert what(finding) == (Flaw.CHAIN_REWRITTEN, run.last, run.last)


@given(chains(), st.data())
def test_a_chain_that_was_cut_off_with_its_seals_is_found_by_the_log(chain: Chain, data: st.DataObject) -> None:
    """Somebody cuts off the end, seals and all, or a failover lost it; and the log's seals prove what there was."""
    rest = data.draw(st.integers(0, len(chain.seals) - 1))
    seals = chain.seals[:rest]
    left = chain.seals[rest].first - 1

    finding, _ = found(chain.events[:left], seals, told=chain.told)

    assert what(finding) == (Flaw.CHAIN_REWRITTEN, chain.seals[rest].last, chain.seals[rest].last)


@pytest.mark.parametrize(
    ("seal", "flaw"),
    [
        (Seal("other/main", 1, 1, 0, "00"), Flaw.SEAL_BROKEN),
        (Seal(CHAIN, 0, 1, 0, "00"), Flaw.SEAL_BROKEN),
        (Seal(CHAIN, 1, 0, 0, "00"), Flaw.SEAL_BROKEN),
        (Seal(CHAIN, 2, 2, 0, "00"), Flaw.SEAL_MISSING),
        (Seal(CHAIN, 1, 1, 1 << 80, "00"), Flaw.EVENT_CHANGED),
    ],
    ids=["another chain", "before the first event", "over nothing", "not from the first", "a time that never comes"],
)
def test_what_is_no_seal_is_named(seal: Seal, flaw: Flaw) -> None:
    """A seal that makes no sense ends the verification with a traceback, or is believed."""
    finding, _ = found(numbered([EVENT, EVENT]), [seal], None)

    assert finding is not None
    assert finding.flaw is flaw


def test_what_cannot_be_read_is_named_with_its_place() -> None:
    """An event that somebody garbled ends the verification without a word of where it is."""
    checker = Checker(CHAIN)
    for event in numbered([EVENT, EVENT]):
        checker.event(event)

    with pytest.raises(AuditBroken) as broken:
        checker.unreadable("The store is damaged.")

    assert what(broken.value.finding) == (Flaw.UNREADABLE, 3, 3)
    assert str(broken.value) == (
        "Event 3, one that comes soon after it, or a seal over them cannot be read. The store is damaged."
    )
