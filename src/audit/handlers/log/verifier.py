"""Checks a transparency log with nothing but Python's standard library; this file runs by itself.

Hashes, trees and proofs are those of RFC 6962, section 2.1.
Checkpoints are C2SP's tlog-checkpoint: signed notes, by Ed25519 keys (RFC 8032).
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

ED25519 = 1  # the kinds of keys of C2SP's signed-note
COSIGNATURE = 4
DASH = "\N{EM DASH} "


class Wrong(Exception):
    """Something is not as it should be; the text says where, and what."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of what has these two below it."""
    return hashlib.sha256(b"\1" + left + right).digest()


def split(size: int) -> int:
    """How many of a tree's leaves are below its left child: the largest power of two that is less."""
    return 1 << ((size - 1).bit_length() - 1)


def check_inclusion(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Wrong unless the proof shows that the leaf of that hash is at `index` in the tree of `size` and `root`."""
    if not 0 <= index < size:
        raise Wrong(f"a tree of {size} leaves has none at {index}")
    rest = list(proof)
    if _root_above(leaf, index, size, rest) != root or rest:
        raise Wrong(f"leaf {index} is not in the tree of {size} leaves")


def check_consistency(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Wrong unless the proof shows that the tree of `size` leaves begins with all of the one of `old`."""
    if old > size:
        raise Wrong(f"the log has been cut: it had {old} leaves, and has {size}")
    rest = list(proof)
    if old == 0:
        begins = old_root == hashlib.sha256(b"").digest()
    else:
        begins = _roots(old, size, old_root, rest) == (old_root, root)
    if not begins or rest:
        raise Wrong(f"the log of {size} leaves does not begin with that of {old}: it has been rewritten")


def _root_above(leaf: bytes, index: int, size: int, rest: list[bytes]) -> bytes:
    """The root that a proof leads to; what it used is taken from the end of `rest`, where the root's child is."""
    if size == 1:
        return leaf
    other, left = _next(rest), split(size)
    if index < left:
        return node_hash(_root_above(leaf, index, left, rest), other)
    return node_hash(other, _root_above(leaf, index - left, size - left, rest))


def _roots(old: int, size: int, known: bytes | None, rest: list[bytes]) -> tuple[bytes, bytes]:
    """The roots of `old` and of `size` leaves that a proof leads to; likewise. `known`: that of `old`, where these have
    been a tree by themselves."""
    if old == size:
        whole = known or _next(rest)
        return whole, whole
    other, left = _next(rest), split(size)
    if old <= left:
        before, after = _roots(old, left, known, rest)
        return before, node_hash(after, other)
    before, after = _roots(old - left, size - left, None, rest)
    return node_hash(other, before), node_hash(other, after)


def _next(rest: list[bytes]) -> bytes:
    if not rest:
        raise Wrong("the proof is too short")
    return rest.pop()


@dataclass(frozen=True)
class Entry:
    """What a log holds of an event: its id, when it was logged (UTC, RFC 3339), and a salted commitment to its line.

    The salt stands beside the event. With both erased the entry tells nothing of it, and every proof stays valid.
    """

    event: str
    at: str
    commitment: bytes

    @classmethod
    def of(cls, event: str, at: str, salt: bytes, line: bytes) -> Entry:
        """The entry of an event that is stored as that line (without its end)."""
        return cls(event, at, hashlib.sha256(salt + line).digest())

    @property
    def data(self) -> bytes:
        """The leaf."""
        return f"{self.event} {self.at} {base64.b64encode(self.commitment).decode()}".encode()

    @classmethod
    def parse(cls, data: bytes) -> Entry:
        """The entry that a leaf is. Wrong when it is none."""
        try:
            event, at, commitment = data.decode().split(" ")
            found = cls(event, at, base64.b64decode(commitment, validate=True))
        except (ValueError, binascii.Error):
            found = None
        if found is None or found.data != data or len(found.commitment) != 32:
            raise Wrong(f"no entry: {data[:200]!r}")
        return found


@dataclass(frozen=True)
class Key:
    """Who signs: a name, the kind of key (ED25519 or COSIGNATURE), and its 32 public bytes."""

    name: str
    kind: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Key:
        """The key that a text (`<name>+<hash>+<base64>`) says. Wrong when it is none."""
        name, _, rest = text.strip().partition("+")
        claimed, _, encoded = rest.partition("+")
        try:
            content = base64.b64decode(encoded, validate=True)
            found = cls(name, content[0], content[1:])
            right = found.identity.hex() == claimed and len(found.public) == 32
        except (binascii.Error, IndexError):
            right = False
        if not right:
            raise Wrong(f"no public key: {text.strip()!r}")
        return found

    @property
    def identity(self) -> bytes:
        """Four bytes that a signature names its key by."""
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        content = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.identity.hex()}+{content}"


@dataclass(frozen=True)
class Checkpoint:
    """What a log was at some time: so many leaves, and their root hash."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint that a note's text is. Wrong when it is none."""
        lines = text.split("\n")
        try:
            origin, size, root = lines[:3]
            found = cls(origin, int(size), base64.b64decode(root, validate=True))
            right = bool(origin) and size == str(found.size) and found.size >= 0 and len(found.root) == 32
        except (ValueError, binascii.Error):
            right = False
        if not right or text[-1:] != "\n" or "" in lines[3:-1]:
            raise Wrong(f"no checkpoint: {text[:200]!r}")
        return found


def signature_line(key: Key, signature: bytes) -> str:
    """A line of a note that holds a signature."""
    return f"{DASH}{key.name} {base64.b64encode(key.identity + signature).decode()}\n"


def signed(text: str, lines: Sequence[str]) -> str:
    """The note of a text and its lines of signatures."""
    return f"{text}\n{''.join(lines)}"


def open_note(note: str, log: Key, witnesses: Sequence[Key] = (), quorum: int = 0) -> Checkpoint:
    """The checkpoint in a note that the log, and so many of the witnesses, have signed. Wrong when they have not."""
    text, blank, below = note.rpartition("\n\n")
    text += "\n"
    if not blank or not below.endswith("\n"):
        raise Wrong("no signed note")
    signatures: dict[tuple[str, bytes], bytes] = {}
    for line in below.removesuffix("\n").split("\n"):
        name, _, encoded = line.removeprefix(DASH).rpartition(" ")
        try:
            content = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            content = b""
        if not line.startswith(DASH) or not name or len(content) < 5:
            raise Wrong(f"no signature: {line[:200]!r}")
        signatures.setdefault((name, content[:4]), content[4:])
    found = Checkpoint.parse(text)
    # One key signs for many logs, and a signature covers nothing but the text.
    if found.origin != log.name:
        raise Wrong(f"the checkpoint is one of {found.origin}, not of {log.name}")
    if log.kind != ED25519 or not _has_signed(log, text, signatures):
        raise Wrong(f"{log.name} has not signed the checkpoint of {found.size} leaves of {found.origin}")
    # By their keys: of one owner all names are one witness, and the log's own is none.
    others = (key for key in witnesses if key.kind == COSIGNATURE and key.public != log.public)
    seen = {key.public: key.name for key in others if _has_signed(key, text, signatures)}
    if len(seen) < quorum:
        names = ", ".join(sorted(seen.values()))
        raise Wrong(f"{len(seen)} witnesses have signed it, of at least {quorum}: {names}")
    return found


def cosignatures(
    note: str | None, log: Key, witnesses: Sequence[Key], quorum: int, kept: list[Checkpoint]
) -> Iterator[str]:
    """What is wrong with the note that witnesses have signed, if so many of them should have; its checkpoint is one of
    those that were `kept`, by others."""
    if note is None:
        if quorum:
            yield f"no checkpoint is signed by witnesses, of which {quorum} should have signed one"
        return
    try:
        kept.append(open_note(note, log, witnesses, quorum))
    except Wrong as error:
        yield f"the cosigned checkpoint: {error}"


def _has_signed(key: Key, text: str, signatures: Mapping[tuple[str, bytes], bytes]) -> bool:
    signature = signatures.get((key.name, key.identity), b"")
    message = text.encode()
    if key.kind == COSIGNATURE:
        at, signature = int.from_bytes(signature[:8], "big"), signature[8:]
        message = f"cosignature/v1\ntime {at}\n".encode() + message
    return verifies(key.public, message, signature)


@dataclass(frozen=True)
class Stored:
    """An event as it is stored: its line (without its end), and the salt of its entry; None of what was not given."""

    line: bytes
    salt: bytes | None


def check_log(
    checkpoint: Checkpoint,
    entries: Sequence[bytes],
    events: Mapping[str, Stored],
    kept: Sequence[Checkpoint] = (),
    erased: Collection[str] = (),
) -> list[str]:
    """What is wrong with a whole log, and where: its entries against its checkpoint and those that were kept before,
    and the events (by id) against their entries. Empty when all is right. `erased`: ids of events lawfully gone.
    """
    found = list(_against(checkpoint, entries, kept))
    at, seen = "", dict[str, int]()
    for index, data in enumerate(entries):
        try:
            entry = Entry.parse(data)
        except Wrong as error:
            found.append(f"entry {index}: {error}")
            continue
        if entry.event in seen:
            found.append(f"entry {index}: event {entry.event} is entry {seen[entry.event]} already")
        seen[entry.event] = index
        if entry.at < at:
            found.append(f"entry {index}: event {entry.event} is back-dated: {entry.at}, after one of {at}")
        at = max(at, entry.at)
        found += _against_entry(index, entry, events.get(entry.event), entry.event in erased)
    found += [
        f"event {event} has no entry: it was inserted, or never logged"
        for event in events
        if event not in seen
    ]
    return found


def _against(checkpoint: Checkpoint, entries: Sequence[bytes], kept: Sequence[Checkpoint]) -> Iterator[str]:
    tree = Tree()
    wanted: dict[int, list[Checkpoint]] = {}
    for one in (checkpoint, *kept):
        wanted.setdefault(one.size, []).append(one)
    for size in range(len(entries) + 1):
        for one in wanted.pop(size, ()):
            if one.root != tree.root():
                what = (
                    "the log is not the one that was signed"
                    if one is checkpoint
                    else "the log has been rewritten"
                )
                yield f"entries 0 to {size - 1}: {what} (root {one.root.hex()}, found {tree.root().hex()})"
        if size < len(entries):
            tree.add(leaf_hash(entries[size]))
    for size in sorted(wanted):
        yield f"the log has been cut: it had {size} entries, and has {len(entries)}"
    if len(entries) > checkpoint.size:
        yield f"entries {checkpoint.size} to {len(entries) - 1}: nobody has signed for them"


def _against_entry(index: int, entry: Entry, stored: Stored | None, erased: bool) -> Iterator[str]:
    if stored is None:
        if not erased:
            yield f"entry {index}: event {entry.event} is gone"
    elif stored.salt is None:
        yield f"entry {index}: event {entry.event} has no salt"
    elif Entry.of(entry.event, entry.at, stored.salt, stored.line) != entry:
        yield f"entry {index}: event {entry.event} is not what was logged: it has been changed"


class Tree:
    """A growing tree's root, of which only the perfect trees that it is made of are kept."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []  # leaves, hash

    def add(self, leaf: bytes) -> None:
        """Put a leaf's hash at the end."""
        size = 1
        while self._peaks and self._peaks[-1][0] == size:
            leaf, size = node_hash(self._peaks.pop()[1], leaf), 2 * size
        self._peaks.append((size, leaf))

    def root(self) -> bytes:
        """The hash of the whole tree; that of nothing when it is empty."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        root = self._peaks[-1][1]
        for _, peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root


# Ed25519, RFC 8032, section 5.1: a point is (x, y, z, t), with x/z and y/z on the curve and t = xy/z.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of an Ed25519 key has signed the message."""
    if len(signature) != 64 or len(public) != 32:
        return False
    key, nonce = _point(public), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or nonce is None or scalar >= ORDER:
        return False
    challenge = hashlib.sha512(signature[:32] + public + message).digest()
    left = _times(scalar, BASE)
    right = _plus(nonce, _times(int.from_bytes(challenge, "little") % ORDER, key))
    return (
        not (left[0] * right[2] - right[0] * left[2]) % P
        and not (left[1] * right[2] - right[1] * left[2]) % P
    )


def _point(encoded: bytes) -> Point | None:
    """The point of 32 bytes; None when they are none's."""
    whole = int.from_bytes(encoded, "little")
    y, odd = whole & (1 << 255) - 1, whole >> 255
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (not x and odd):
        return None
    if x & 1 != odd:
        x = P - x
    return x, y, 1, x * y % P


def _plus(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar: int, point: Point) -> Point:
    found = NEUTRAL
    while scalar:
        if scalar & 1:
            found = _plus(found, point)
        point = _plus(point, point)
        scalar >>= 1
    return found


def _base() -> Point:
    y = 4 * pow(5, -1, P) % P
    found = _point(y.to_bytes(32, "little"))
    assert found is not None
    return found


BASE = _base()


def main(argv: Sequence[str]) -> int:
    """Check the log in a file that `cellwave audit verify --save` wrote; 0 when all is right, 1 when it is not.

    `verifier.py FILE KEY [KEPT CHECKPOINT FILES…]`: KEY is the log's public key as its owner made it known. So many
    (`--quorum N`) of the witnesses (`--witness KEY`, each) must have signed one of its checkpoints.
    """
    told = argparse.ArgumentParser(prog="verifier.py")
    for name, how in (("file", None), ("key", None), ("kept", "*")):
        told.add_argument(name, nargs=how)
    told.add_argument("--witness", action="append", default=[])
    told.add_argument("--quorum", type=int, default=0)
    asked = told.parse_intermixed_args(argv)
    try:
        key = Key.parse(asked.key)
        kept = [open_note(_text(path), key) for path in asked.kept]
        lines = _text(asked.file).splitlines()
        checkpoint, entries, events, erased = read_file(lines, key)
        cosigned = json.loads(lines[0]).get("cosigned")
        wrong = [*cosignatures(cosigned, key, [*map(Key.parse, asked.witness)], asked.quorum, kept)]
    except (Wrong, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        print(f"error: no log can be read of that: {error!r}", file=sys.stderr)
        return 1
    wrong += check_log(checkpoint, entries, events, kept, erased)
    for line in wrong:
        print(line)
    if not wrong:
        print(f"{checkpoint.origin}: {checkpoint.size} entries, all as signed; root {checkpoint.root.hex()}")
        if erased:
            print(
                f"  {len(erased)} of their events are gone, their time over or erased, as the log's owner says"
            )
    return 1 if wrong else 0


def read_file(lines: Sequence[str], key: Key) -> tuple[Checkpoint, list[bytes], dict[str, Stored], list[str]]:
    """What a file of a log says: `{"checkpoint"}` (with what is `"cosigned"`), then `{"entry"}` and `{"event", "line",
    "salt"}` or `{"event", "erased": true}` in any order, all but lines in base64. Wrong or ValueError when it is none.
    """
    found = [json.loads(line) for line in lines]
    if not found or "checkpoint" not in found[0]:
        raise Wrong("no file of a log: it has no checkpoint")
    checkpoint = open_note(found[0]["checkpoint"], key)
    entries = [base64.b64decode(one["entry"]) for one in found if "entry" in one]
    events = {
        str(one["event"]): Stored(
            one["line"].encode(), base64.b64decode(one["salt"]) if one["salt"] else None
        )
        for one in found
        if "line" in one
    }
    return checkpoint, entries, events, [str(one["event"]) for one in found if one.get("erased")]


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
