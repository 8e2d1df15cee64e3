"""Whatever is done to a log or to what it is a log of is found, and where: also if the operator signs anew."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from audit.handlers.log import verifier
from audit.handlers.log.verifier import (
    ED25519,
    Checkpoint,
    Entry,
    Key,
    Stored,
    Tree,
    Wrong,
    check_log,
    leaf_hash,
    open_note,
    signature_line,
    signed,
)

SIGNER = Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
KEY = Key("eu.audit.example/acme/t1", ED25519, SIGNER.public_key().public_bytes_raw())
SIZE, KEPT = 9, 5  # of the log, and of the checkpoint that a customer kept


@dataclass
class World:
    """A log, what it is a log of, and what its customer kept."""

    entries: list[bytes] = field(default_factory=list)
    events: dict[str, Stored] = field(default_factory=dict)
    kept: list[Checkpoint] = field(default_factory=list)

    def checkpoint(self) -> Checkpoint:
        """What the operator signs now, whatever they did."""
        return checkpoint_of(self.entries)

    def found(self) -> list[str]:
        """What a verifier says."""
        return check_log(self.checkpoint(), self.entries, self.events, self.kept)


def checkpoint_of(entries: list[bytes]) -> Checkpoint:
    """Of a log of these entries."""
    tree = Tree()
    for data in entries:
        tree.add(leaf_hash(data))
    return Checkpoint(KEY.name, len(entries), tree.root())


def made(number: int, at: int | None = None) -> tuple[str, bytes, Stored]:
    """An event's id, its entry and how it is stored."""
    event, salt = f"{number:032x}", hashlib.sha256(str(number).encode()).digest()[:16]
    line = json.dumps({"eventId": event, "eventName": f"action {number}"}).encode()
    moment = f"2027-01-01T00:00:{number if at is None else at:02}.000Z"
    return event, Entry.of(event, moment, salt, line).data, Stored(line, salt)


def world(size: int = SIZE, kept: int = KEPT) -> World:
    """All as it should be."""
    found = World()
    for number in range(size):
        event, data, stored = made(number)
        found.entries.append(data)
        found.events[event] = stored
        if number + 1 == kept:
            found.kept.append(checkpoint_of(found.entries))
    return found


def flip(at: World) -> None:
    """A byte of an event is another."""
    event = f"{3:032x}"
    at.events[event] = replace(at.events[event], line=at.events[event].line.replace(b"action", b"auction"))


def drop_event(at: World) -> None:
    """An event is gone, its entry is not."""
    del at.events[f"{3:032x}"]


def insert_event(at: World) -> None:
    """An event that was never logged."""
    event, _, stored = made(77)
    at.events[event] = stored


def drop(at: World) -> None:
    """An event is gone with its entry."""
    del at.entries[3], at.events[f"{3:032x}"]


def insert(at: World) -> None:
    """An event in the middle, with an entry."""
    event, data, stored = made(77, at=2)
    at.entries.insert(3, data)
    at.events[event] = stored


def reorder(at: World) -> None:
    """Two entries change places."""
    at.entries[2], at.entries[3] = at.entries[3], at.entries[2]


def back_date(at: World) -> None:
    """An event of today, said to have been logged before others."""
    event, data, stored = made(77, at=1)
    at.entries.append(data)
    at.events[event] = stored


def cut(at: World) -> None:
    """The newest are gone, also those that the customer has a checkpoint of."""
    for number in range(KEPT - 1, SIZE):
        del at.events[f"{number:032x}"]
    del at.entries[KEPT - 1 :]


def fork(at: World) -> None:
    """Another log from the second entry on, made as if it had always been so."""
    for number in range(1, SIZE):
        del at.events[f"{number:032x}"]
    del at.entries[1:]
    for number in range(101, 101 + SIZE):
        event, data, stored = made(number, at=number - 100)
        at.entries.append(data)
        at.events[event] = stored


def double(at: World) -> None:
    """An event has a second entry."""
    at.entries.append(made(3, at=20)[1])


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (flip, f"entry 3: event {3:032x} is not what was logged"),
        (drop_event, f"entry 3: event {3:032x} is gone"),
        (insert_event, f"event {77:032x} has no entry: it was inserted"),
        (drop, f"entries 0 to {KEPT - 1}: the log has been rewritten"),
        (insert, f"entries 0 to {KEPT - 1}: the log has been rewritten"),
        (reorder, f"entries 0 to {KEPT - 1}: the log has been rewritten"),
        (back_date, f"entry {SIZE}: event {77:032x} is back-dated"),
        (cut, f"the log has been cut: it had {KEPT} entries, and has {KEPT - 1}"),
        (fork, f"entries 0 to {KEPT - 1}: the log has been rewritten"),
        (double, f"entry {SIZE}: event {3:032x} is entry 3 already"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_harm_is_found_and_its_place_is_named(harm: Callable[[World], None], said: str) -> None:
    """By whoever kept one old checkpoint, whatever the operator has signed since."""
    at = world()
    assert at.found() == []
    harm(at)
    assert [line for line in at.found() if line.startswith(said)]


@given(st.integers(1, 40), st.data())
def test_any_byte_of_any_event_or_entry_counts(size: int, data: st.DataObject) -> None:
    """Nothing of a log can be another and pass."""
    at = world(size, kept=data.draw(st.integers(1, size)))
    before = at.checkpoint()
    number = data.draw(st.integers(0, size - 1))
    event = f"{number:032x}"
    whole = at.events[event].line if data.draw(st.booleans()) else at.entries[number]
    place = data.draw(st.integers(0, len(whole) - 1))
    other = whole[:place] + bytes([whole[place] ^ 1 << data.draw(st.integers(0, 7))]) + whole[place + 1 :]
    if whole is at.entries[number]:
        at.entries[number] = other
    else:
        at.events[event] = replace(at.events[event], line=other)
    assert check_log(before, at.entries, at.events, at.kept)


def test_an_erased_event_leaves_every_proof_valid() -> None:
    """Its line and its salt are gone, and its entry is as it was; what is gone without a word is a finding."""
    at = world()
    event = f"{3:032x}"
    del at.events[event]
    assert check_log(at.checkpoint(), at.entries, at.events, at.kept, erased=[event]) == []


@pytest.mark.parametrize("data", [b"", b"a b", b"a b c d", b"a b AAAA", b"a b " + b"A" * 44, b"\xff b c"])
def test_what_is_no_entry_is_said(data: bytes) -> None:
    """With its place."""
    at = world()
    at.entries[3] = data
    assert any(line.startswith("entry 3: no entry") for line in at.found())
    with pytest.raises(Wrong, match="no entry"):
        Entry.parse(data)


def note(checkpoint: Checkpoint) -> str:
    """As the operator signs it."""
    return signed(checkpoint.text, [signature_line(KEY, SIGNER.sign(checkpoint.text.encode()))])


def written(at: World, folder: Path) -> tuple[str, str, str]:
    """The log in a file, its key, and the kept checkpoint in a file."""
    lines = [json.dumps({"checkpoint": note(at.checkpoint())})]
    lines += [json.dumps({"entry": base64.b64encode(data).decode()}) for data in at.entries]
    for event, stored in at.events.items():
        salt = base64.b64encode(stored.salt or b"").decode()
        lines.append(json.dumps({"event": event, "line": stored.line.decode(), "salt": salt}))
    (folder / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "kept").write_text(note(at.kept[0]))
    return str(folder / "log.jsonl"), str(KEY), str(folder / "kept")


def run(*arguments: str) -> tuple[int, str]:
    """The verifier's one file, alone in an interpreter that has nothing but its standard library."""
    command = [sys.executable, "-I", "-S", str(verifier.__file__), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_verifier_is_one_file_that_needs_nothing(tmp_path: Path) -> None:
    """It takes a log's file, the public key and checkpoints that were kept: 0 when all is right, else 1 and what."""
    at = world()
    code, said = run(*written(at, tmp_path))
    assert (code, said.split(":")[0]) == (0, KEY.name)
    assert f"{SIZE} entries, all as signed" in said
    flip(at)
    code, said = run(*written(at, tmp_path))
    assert code == 1
    assert said.startswith(f"entry 3: event {3:032x} is not what was logged")


def test_a_log_is_not_passed_off_as_another_by_the_same_key() -> None:
    """One key signs for all logs of a cell: a note of another log's, under this one's name, is none."""
    other = Checkpoint("eu.audit.example/acme/t2", 1, b"\0" * 32)
    forged = signed(other.text, [signature_line(KEY, SIGNER.sign(other.text.encode()))])
    with pytest.raises(Wrong, match="the checkpoint is one of eu"):
        open_note(forged, KEY)


def test_a_checkpoint_that_another_signed_is_none(tmp_path: Path) -> None:
    """Nor is a file without one, and the usage is told."""
    file, _, kept = written(world(), tmp_path)
    other = Key(KEY.name, ED25519, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    code, said = run(file, str(other), kept)
    assert code == 1
    assert "has not signed" in said
    (tmp_path / "empty").write_text("")
    code, said = run(str(tmp_path / "empty"), str(KEY))
    assert code == 1
    assert "no checkpoint" in said
    assert run()[0] == 2
