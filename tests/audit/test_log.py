"""A transparency log: what is in it is proven, and whatever is done to it afterwards is found."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from audit.handlers.log.tree import WIDTH, Edge, consistency, hashes_of, inclusion, tile_path
from audit.handlers.log.verifier import (
    ED25519,
    Checkpoint,
    Key,
    Wrong,
    check_consistency,
    check_inclusion,
    leaf_hash,
    node_hash,
    open_note,
    verifies,
)


def leaves(count: int) -> list[bytes]:
    """The hashes of so many leaves."""
    return [leaf_hash(str(number).encode()) for number in range(count)]


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root of a tree of these leaves, as RFC 6962 defines it (2.1)."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    left = 1
    while left * 2 < len(hashes):
        left *= 2
    return node_hash(root_of(hashes[:left]), root_of(hashes[left:]))


class Kept:
    """A log's tiles as a store keeps them."""

    def __init__(self) -> None:
        self.edge = Edge()
        self.tiles: dict[str, bytes] = {}

    def append(self, new: Sequence[bytes]) -> None:
        """Let the log grow; what is kept already never changes."""
        self.edge, written = self.edge.append(new)
        for tile in written:
            assert self.tiles.setdefault(tile.path, tile.content) == tile.content

    def hashes(self, level: int, index: int, width: int) -> tuple[bytes, ...]:
        """Of a tile: as it is, or as it was when it was so wide."""
        full = self.tiles.get(tile_path(str(level), index, WIDTH))
        return hashes_of(full or self.partial(level, index, width))

    def partial(self, level: int, index: int, width: int) -> bytes:
        """The widest part of a tile that is not full."""
        whole = self.edge.size >> (8 * level)
        assert width <= whole % WIDTH, "nothing is asked for that a log does not have"
        return self.tiles[tile_path(str(level), index, whole % WIDTH)]


@pytest.fixture(scope="module")
def large() -> Kept:
    """A log with tiles on three levels."""
    kept = Kept()
    kept.append(leaves(WIDTH * WIDTH + 3 * WIDTH + 5))
    return kept


@given(st.lists(st.integers(0, 600), max_size=6))
def test_a_log_that_grew_in_any_steps_is_one_tree(steps: list[int]) -> None:
    """Its root is that of RFC 6962, and its edge can be read back from its tiles."""
    kept, every = Kept(), leaves(sum(steps))
    for at, step in enumerate(steps):
        kept.append(every[sum(steps[:at]) :][:step])
    assert kept.edge.root() == root_of(every)
    assert Edge.read(kept.edge.size, kept.hashes) == kept.edge


@given(st.integers(1, 1200), st.data())
def test_a_leaf_is_proven_to_be_where_it_is_and_nowhere_else(size: int, data: st.DataObject) -> None:
    """By a proof that fits no other leaf, place, size or root."""
    kept, every = Kept(), leaves(size)
    kept.append(every)
    at, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    proof, root = inclusion(at, size, kept.hashes), kept.edge.root()
    check_inclusion(every[at], at, size, root, proof)
    for wrong in (proof[:-1], [*proof, root], [*proof[1:], root]):
        if wrong != proof:
            with pytest.raises(Wrong):
                check_inclusion(every[at], at, size, root, wrong)
    if other != at:
        with pytest.raises(Wrong):
            check_inclusion(every[other], at, size, root, proof)
        with pytest.raises(Wrong):
            check_inclusion(every[at], other, size, root, proof)


@given(st.integers(0, 1200), st.integers(0, 1200), st.data())
def test_a_log_is_proven_to_begin_with_what_it_was(one: int, other: int, data: st.DataObject) -> None:
    """And none is that was rewritten, cut or forked."""
    old, size = sorted((one, other))
    kept, every = Kept(), leaves(size)
    kept.append(every)
    proof, root, before = consistency(old, size, kept.hashes), kept.edge.root(), root_of(every[:old])
    check_consistency(old, before, size, root, proof)
    assume(old)
    altered = [*every]
    altered[data.draw(st.integers(0, old - 1))] = leaf_hash(b"another")
    forged = Kept()
    forged.append(altered)
    with pytest.raises(Wrong, match="rewritten"):
        check_consistency(old, before, size, forged.edge.root(), consistency(old, size, forged.hashes))
    if old < size:
        with pytest.raises(Wrong, match="cut"):
            check_consistency(size, root, old, before, [])


def test_tiles_are_where_a_log_serves_them(large: Kept) -> None:
    """In groups of three digits; those that are not full say how wide they are."""
    assert tile_path("0", 1234067, WIDTH) == "tile/0/x001/x234/067"
    assert tile_path("entries", 5, 17) == "tile/entries/005.p/17"
    assert {
        "tile/0/000",
        "tile/0/258",
        "tile/0/259.p/5",
        "tile/1/000",
        "tile/1/001.p/3",
        "tile/2/000.p/1",
    } <= {*large.tiles}


@pytest.mark.parametrize("at", [0, 255, 256, 65535, 65536, 66308])
def test_proofs_reach_through_all_levels_of_tiles(large: Kept, at: int) -> None:
    """The first leaf, the last, and those where tiles meet."""
    size, root = large.edge.size, large.edge.root()
    check_inclusion(leaf_hash(str(at).encode()), at, size, root, inclusion(at, size, large.hashes))
    old = root_of(leaves(at + 1))
    check_consistency(at + 1, old, size, root, consistency(at + 1, size, large.hashes))


@pytest.mark.parametrize(("index", "size"), [(5, 5), (-1, 5), (0, 0)])
def test_there_is_no_proof_of_what_is_not_there(index: int, size: int) -> None:
    """Asked for a leaf beyond the end, and told of one."""
    with pytest.raises(ValueError, match="has none at"):
        inclusion(index, size, lambda *_: ())
    with pytest.raises(Wrong, match="has none at"):
        check_inclusion(b"", index, size, b"", [])


# RFC 8032, section 7.1: key, public key, message, signature of tests 1 to 3.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_a_signature_is_checked_as_its_standard_says(public: str, message: str, signature: str) -> None:
    """The standard's own examples hold, and none of them with a bit turned."""
    key, said, made = map(bytes.fromhex, (public, message, signature))
    assert verifies(key, said, made)
    for at in (0, 31, 32, 63):
        turned = bytearray(made)
        turned[at] ^= 1
        assert not verifies(key, said, bytes(turned))
    assert not verifies(key, said + b"x", made)
    assert not verifies(key, said, made[:-1])


# C2SP's tlog-checkpoint and Go's sumdb/note have these as their examples.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""


def test_a_key_says_whose_it_is() -> None:
    """Its name, its kind, and a hash of both, as Go's sumdb/note writes it; what is none is refused."""
    key = Key.parse(VKEY)
    assert (key.name, key.kind, str(key)) == ("PeterNeumann", ED25519, VKEY)
    for wrong in ("", "a+b", VKEY[:-2], VKEY.replace("c74f", "c74e"), VKEY.replace("Peter", "Paul")):
        with pytest.raises(Wrong, match="no public key"):
            Key.parse(wrong)


def test_a_note_that_others_made_is_read() -> None:
    """The signature is Peter Neumann's; that the text is no checkpoint is found first."""
    text, _, below = NOTE.partition("\n\n")
    assert below
    key = Key.parse(VKEY)
    with pytest.raises(Wrong, match="no checkpoint"):
        open_note(NOTE, key)
    assert verifies(key.public, f"{text}\n".encode(), base64.b64decode(below.split()[-1])[4:])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n",
        "a\n1\n",
        "a\n-1\nAAAA\n",
        "a\n01\n" + "A" * 43 + "=\n",
        "a\n1\nAAAA\n",
        "\n1\n" + "A" * 43 + "=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """Lines too few, a size that is none, a root of other than 32 bytes."""
    with pytest.raises(Wrong, match="no checkpoint"):
        Checkpoint.parse(text)
