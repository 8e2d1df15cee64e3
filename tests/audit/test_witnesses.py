"""Witnesses cosign what only grows, and nothing else; a cell collects what they sign, and a verifier counts them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import cli
from audit.cells import InCell
from audit.handlers.common import aws
from audit.handlers.log import verifier
from audit.handlers.log.append import CHECKPOINT, checkpoint_in
from audit.handlers.log.keys import key_of
from audit.handlers.log.store import COSIGNED
from audit.handlers.log.tree import Edge, consistency
from audit.handlers.log.verifier import (
    Checkpoint,
    Key,
    Wrong,
    leaf_hash,
    open_note,
    signature_line,
    signed,
)
from audit.handlers.query import api
from audit.verify import Log
from audit.witness.cli import server_of
from audit.witness.collect import Asked, Collected, collect
from audit.witness.places import Bucket, Folder, Mailbox, Place, Url, answer_all
from audit.witness.protocol import Request
from audit.witness.witness import Cosigner, Kept, Witness, hash_of
from cellwave.fleet.parse import parse_fleet
from cellwave.project import find_project
from tests.audit.logs import ORIGIN, Logs
from tests.audit.support import REGION, Audit
from tests.audit.test_log_grows import of_go
from tests.audit.test_log_verified import KEY, SIGNER, World, made, note, world, written

__all__ = ["of_go"]  # a fixture

NOW = 1_800_000_000


@dataclass
class Grown:
    """A log that anybody may make: its leaves, and what it says of itself."""

    leaves: list[bytes] = field(default_factory=list)

    def note(self, size: int) -> str:
        """The signed note of so many leaves."""
        checkpoint = Checkpoint(KEY.name, size, self._edge(size).root())
        return signed(checkpoint.text, [signature_line(KEY, SIGNER.sign(checkpoint.text.encode()))])

    def request(self, old: int, size: int) -> str:
        """To cosign so many leaves, after the old ones."""
        return Request(old, consistency(old, size, self._hashes), self.note(size)).text

    def _edge(self, size: int) -> Edge:
        return Edge().append([leaf_hash(one) for one in self.leaves[:size]])[0]

    def _hashes(self, level: int, index: int, _least: int) -> tuple[bytes, ...]:
        tiles = {
            (tile.level, tile.index): tile for tile in Edge().append(list(map(leaf_hash, self.leaves)))[1]
        }
        return tiles[level, index].hashes


def log_of(size: int, other: int | None = None) -> Grown:
    """A log of so many leaves; from `other` on it is another one."""
    return Grown([b"%d %d" % (number, other is not None and number >= other) for number in range(size)])


def witness_in(folder: Path, name: str = "w1.example", *logs: Key) -> Witness:
    """A new one."""
    kept = Kept(folder / f"{name}.json")
    kept.create()
    return Witness(Cosigner.new(name), logs or (KEY,), kept, lambda: NOW)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_whatever_grows_is_cosigned(tmp_path_factory: pytest.TempPathFactory, steps: list[int]) -> None:
    """Each checkpoint behind the one before, at the second that it was seen."""
    witness, log, old = witness_in(tmp_path_factory.mktemp("w")), log_of(200), 0
    for step in steps:
        answer = witness.add_checkpoint(log.request(old, old + step))
        assert answer.status == 200
        open_note(log.note(old + step) + answer.body, KEY, [witness.cosigner.key], 1)
        old += step
    assert witness.newest(hash_of(KEY.name)) == log.note(old) + answer.body


def test_the_cosignature_of_the_specification_is_read() -> None:
    """The time is the first eight bytes, and is signed with the checkpoint."""
    cosigner, text = Cosigner.new("w1"), log_of(3).note(3).partition("\n\n")[0] + "\n"
    line = cosigner.cosign(text, NOW)
    content = base64.b64decode(line.split(" ")[2])
    assert (content[:4], int.from_bytes(content[4:12], "big")) == (cosigner.key.identity, NOW)
    cosigner.private.public_key().verify(content[12:], f"cosignature/v1\ntime {NOW}\n{text}".encode())


def other_size(log: Grown) -> str:
    """Says that it had another size."""
    return log.request(3, 9)


def other_history(_: Grown) -> str:
    """Another log's, from the third leaf on, with a proof of its own."""
    return log_of(20, other=2).request(5, 9)


def same_size(_: Grown) -> str:
    """Another log of as many leaves."""
    return log_of(20, other=2).request(5, 5)


def without_proof(log: Grown) -> str:
    """No proof."""
    return f"old 5\n\n{log.note(9)}"


def cut(log: Grown) -> str:
    """A log that has shrunk."""
    return f"old 5\n\n{log.note(4)}"


def begun_anew(_: Grown) -> str:
    """Another log, as if nothing had been seen."""
    return log_of(20, other=2).request(0, 9)


def unsigned(log: Grown) -> str:
    """A checkpoint that the log has not signed."""
    return log.request(5, 9).replace("\n9\n", "\n8\n")


def of_another(log: Grown) -> str:
    """A log that it knows nothing of."""
    return log.request(5, 9).replace(KEY.name, "eu.audit.example/acme/t2")


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        (other_size, 409, "5\n"),
        (begun_anew, 409, "5\n"),
        (other_history, 422, "rewritten"),
        (same_size, 422, "rewritten"),
        (without_proof, 422, "too short"),
        (cut, 400, "more than the checkpoint's"),
        (unsigned, 403, "has not signed"),
        (of_another, 404, "no log of this witness's"),
        (lambda _: "old x\n\n", 400, "expected 'old SIZE'"),
        (lambda _: f"old 0\nAAAA\n\n{log_of(1).note(1)}", 400, "no hash in base64"),
        (lambda _: "old 0\n" + "A" * 43 + "=\n\nno note\n", 400, "no checkpoint"),
    ],
)
def test_whatever_else_is_refused_and_changes_nothing(
    tmp_path: Path, asked: Callable[[Grown], str], status: int, said: str
) -> None:
    """A fork, a log that shrinks, a proof that shows nothing; with the statuses of the specification."""
    witness, log = witness_in(tmp_path), log_of(20)
    assert witness.add_checkpoint(log.request(0, 5)).status == 200
    before = witness.kept.path.read_text()
    answer = witness.add_checkpoint(asked(log))
    assert (answer.status, said in answer.body) == (status, True)
    assert witness.kept.path.read_text() == before
    assert witness.add_checkpoint(log.request(5, 9)).status == 200


def test_what_was_cosigned_is_kept_before_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can't write it down signs nothing; and another process goes on where it was."""
    witness, log = witness_in(tmp_path), log_of(9)
    with monkeypatch.context() as patch:
        patch.setattr(Kept, "replace", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
        with pytest.raises(OSError, match="full"):
            witness.add_checkpoint(log.request(0, 5))
    assert witness.add_checkpoint(log.request(0, 5)).status == 200
    again = replace(witness, kept=Kept(witness.kept.path))
    assert again.add_checkpoint(log_of(9, other=2).request(0, 7)).status == 409


def test_many_that_ask_at_once_are_answered_one_after_the_other(tmp_path: Path) -> None:
    """Of two histories one is cosigned, whoever was first."""
    witness = witness_in(tmp_path)
    requests = [log_of(9).request(0, 5), log_of(9, other=2).request(0, 6)] * 4
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda one=one: found.append(witness.add_checkpoint(one).status))
        for one in requests
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200] + [409] * 7


def test_a_cell_s_key_stands_for_its_logs(tmp_path: Path) -> None:
    """And for no other cell's."""
    cell = Key("eu.audit.example", KEY.kind, KEY.public)
    assert witness_in(tmp_path, "w1", cell).add_checkpoint(log_of(3).request(0, 3)).status == 200
    other = replace(cell, name="eu.audit.exam")
    assert witness_in(tmp_path, "w2", other).add_checkpoint(log_of(3).request(0, 3)).status == 404


@pytest.fixture
def url(tmp_path: Path, logs: Logs) -> Iterator[tuple[Place, Witness]]:
    """A witness that answers by HTTP."""
    witness = witness_in(tmp_path, "url.example", _cell_key())
    server = server_of(witness, 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Url(f"http://127.0.0.1:{server.server_address[1]}"), witness
    server.shutdown()
    server.server_close()
    thread.join()


def _cell_key() -> Key:
    return replace(key_of(f"{ORIGIN}/acme/t1"), name=ORIGIN)


@dataclass
class Boxed:
    """A witness that looks into a box."""

    box: Folder | Bucket
    witness: Witness

    @property
    def asked(self) -> Asked:
        """As a cell knows it."""
        return Asked(self.witness.cosigner.key, Mailbox(self.box))

    def look(self) -> int:
        """Answers what lies there."""
        return answer_all(self.box, self.witness.add_checkpoint)


@pytest.fixture(params=["folder", "bucket"])
def boxed(request: pytest.FixtureRequest, logs: Logs, tmp_path: Path) -> Boxed:
    """In a folder, or in a bucket of another account."""
    witness = witness_in(tmp_path, "box.example", _cell_key())
    if request.param == "folder":
        (tmp_path / "box").mkdir()
        return Boxed(Folder(tmp_path / "box"), witness)
    s3: Any = boto3.client("s3", aws_access_key_id="319999999999", aws_secret_access_key="x")
    name = f"witness-{logs.cell.account}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return Boxed(Bucket(s3, name, "eu/"), witness)


def collected(logs: Logs, quorum: int, *witnesses: Asked) -> Collected:
    """What a cell gets for t1's log."""
    found = collect(logs.store(), key_of(f"{ORIGIN}/acme/t1"), witnesses, quorum)
    assert found is not None
    return found


def cosigned(logs: Logs) -> str:
    """What is served as cosigned."""
    return (logs.store().read(COSIGNED) or b"").decode()


def test_a_url_is_asked_for_each_checkpoint(logs: Logs, url: tuple[Place, Witness]) -> None:
    """With a proof from what it has seen; another cell's collector finds out by itself how far it is."""
    place, witness = url
    asked, size = Asked(witness.cosigner.key, place), 0
    for number in (3, 300, 1):
        logs.tell(logs.archive(number))
        size += number
        assert collected(logs, 1, asked) == Collected(size, 1, {}, [])
        found = open_note(cosigned(logs), key_of(f"{ORIGIN}/acme/t1"), [asked.key], 1)
        assert found == logs.checkpoint()
    logs.store().remove(COSIGNED)
    logs.tell(logs.archive(2))
    assert collected(logs, 1, asked) == Collected(size + 2, 1, {}, [])
    prefix = place.prefix if isinstance(place, Url) else ""
    assert httpx.get(f"{prefix}/{hash_of(f'{ORIGIN}/acme/t1')}/checkpoint").text == cosigned(logs)
    assert httpx.get(f"{prefix}/{hash_of('other')}/checkpoint").status_code == 404
    assert httpx.post(f"{prefix}/other", content=b"x").status_code == 404


def test_a_box_is_answered_when_its_witness_looks(logs: Logs, boxed: Boxed) -> None:
    """The checkpoint that was begun is gone on with, however much the log has grown meanwhile."""
    logs.tell(logs.archive(3))
    assert collected(logs, 1, boxed.asked).said == {"box.example": "it has not answered yet"}
    logs.tell(logs.archive(300))
    assert (boxed.look(), boxed.look()) == (1, 0)
    assert collected(logs, 1, boxed.asked) == Collected(3, 1, {}, [])
    assert checkpoint_in(cosigned(logs)).size == 3
    collected(logs, 1, boxed.asked)
    boxed.look()
    assert collected(logs, 1, boxed.asked) == Collected(303, 1, {}, [])


def test_a_box_s_witness_that_has_another_size_is_asked_from_there(logs: Logs, boxed: Boxed) -> None:
    """What a cell has forgotten costs it a look."""
    logs.tell(logs.archive(3))
    collected(logs, 1, boxed.asked)
    boxed.look()
    collected(logs, 1, boxed.asked)
    logs.store().remove(COSIGNED)
    logs.tell(logs.archive(2))
    for _ in range(2):
        assert collected(logs, 1, boxed.asked).signed == 0
        boxed.look()
    assert collected(logs, 1, boxed.asked) == Collected(5, 1, {}, [])


def test_a_request_that_is_no_text_keeps_no_other_from_its_answer(logs: Logs, boxed: Boxed) -> None:
    """Who lays it there can't stop a witness."""
    if isinstance(boxed.box, Folder):
        (boxed.box.path / "0.request").write_bytes(b"old \xff\n\n")
        (boxed.box.path / "1.request").mkdir()
    else:
        boxed.box.s3.put_object(
            Bucket=boxed.box.bucket, Key=f"{boxed.box.prefix}0.request", Body=b"old \xff\n\n"
        )
    logs.tell(logs.archive(3))
    collected(logs, 1, boxed.asked)
    assert (boxed.look(), boxed.look()) == (2, 0)
    assert (boxed.box.get("0.answer") or "").startswith("400 ")
    assert collected(logs, 1, boxed.asked).signed == 1


def test_so_many_must_have_signed(logs: Logs, url: tuple[Place, Witness], boxed: Boxed) -> None:
    """Until then the older checkpoint stands, that as many had."""
    by_url = Asked(url[1].cosigner.key, url[0])
    logs.tell(logs.archive(3))
    assert collected(logs, 2, by_url, boxed.asked).signed == 1
    assert cosigned(logs) == ""
    boxed.look()
    assert collected(logs, 2, by_url, boxed.asked).signed == 2
    logs.tell(logs.archive(1))
    assert collected(logs, 2, by_url, boxed.asked).signed == 1
    assert checkpoint_in(cosigned(logs)).size == 3
    assert collected(logs, 1, by_url, boxed.asked).signed == 1
    assert checkpoint_in(cosigned(logs)).size == 4


def test_a_witness_that_saw_another_history_refuses_ours(logs: Logs, url: tuple[Place, Witness]) -> None:
    """Which is said, and nothing is cosigned; one that can't be reached is no refusal."""
    place, witness = url
    asked = Asked(witness.cosigner.key, place)
    logs.tell(logs.archive(3))
    forked = Checkpoint(f"{ORIGIN}/acme/t1", 2, bytes(32))
    witness.kept.replace({forked.origin: signed(forked.text, [])})
    found = collected(logs, 1, asked)
    assert (found.signed, found.refused) == (0, ["url.example"])
    assert "refuses with 422" in found.said["url.example"]
    nowhere = collected(logs, 1, Asked(asked.key, Url("http://127.0.0.1:9")))
    assert (nowhere.refused, [*nowhere.said]) == ([], ["url.example"])
    assert cosigned(logs) == ""


def test_an_answer_that_is_no_cosignature_counts_for_nothing(logs: Logs) -> None:
    """Nor does one by another key, and no line of it gets into the note."""
    other = Cosigner.new("w1")

    class Liar:
        def ask(self, origin: str, request: Request) -> Any:
            line = other.cosign(request.note.partition("\n\n")[0] + "\n", NOW)
            return type("Answer", (), {"status": 200, "body": f"{line}junk\n"})

        def asked(self, origin: str) -> Request | None:
            return None

    logs.tell(logs.archive(3))
    found = collected(logs, 1, Asked(Cosigner.new("w1").key, Liar()))
    assert found.said == {"w1": "its answer holds no cosignature of it"}
    assert other.key.name not in (logs.store().read("cosigning") or b"").decode()


def test_a_log_that_does_not_grow_gets_the_others_too(
    logs: Logs, url: tuple[Place, Witness], boxed: Boxed
) -> None:
    """Enough have signed, and who comes later is added."""
    by_url = Asked(url[1].cosigner.key, url[0])
    logs.tell(logs.archive(3))
    collected(logs, 1, by_url, boxed.asked)
    boxed.look()
    assert collected(logs, 1, by_url, boxed.asked).signed == 2
    open_note(cosigned(logs), key_of(f"{ORIGIN}/acme/t1"), [by_url.key, boxed.asked.key], 2)


def test_the_tenant_is_served_what_was_cosigned(logs: Logs, url: tuple[Place, Witness]) -> None:
    """Beside the newest checkpoint, and in OCSF's attestations."""
    logs.cell.key("acme")
    key = logs.cell.key("acme", "t1")
    logs.cell.land("acme/a.jsonl", {"tenantId": "t1", "eventTime": "2025-03-01T10:00:00Z", "eventName": "e"})
    logs.cell.process("acme/a.jsonl")
    logs.tell(*(one for one in logs.objects("archive") if one.startswith("acme/")))
    assert logs.cell.call(api.handler, "GET /v1/checkpoint", key).body["cosigned"] is None
    collected(logs, 1, Asked(url[1].cosigner.key, url[0]))
    logs.tell(logs.archive(2))
    body = logs.cell.call(api.handler, "GET /v1/checkpoint", key).body
    assert [checkpoint_in(body[name]).size for name in ("checkpoint", "cosigned")] == [3, 1]
    found = next(
        one for one in logs.cell.search(key, format="ocsf").body["events"] if one["api"]["operation"] == "e"
    )
    (attestation,) = found["attestation_list"]
    assert [one.get("created_time") for one in attestation["signatures"]] == [None, NOW * 1000]


def with_cosigned(at: World, *cosigners: Cosigner) -> tuple[Log, str]:
    """The log as it is read, of which these have cosigned what was kept."""
    whole = note(at.kept[0])
    text = whole.partition("\n\n")[0] + "\n"
    whole += "".join(one.cosign(text, NOW) for one in cosigners)
    return Log(note(at.checkpoint()), KEY, at.entries, at.events, 0, whole), whole


def test_a_verifier_counts_the_witnesses() -> None:
    """Fewer than there must be are a finding; and what they signed finds what the operator signed anew."""
    first, second, stranger = (Cosigner.new(name) for name in ("w1", "w2", "w3"))
    at = world()
    log, _ = with_cosigned(at, first, second)
    keys = [first.key, second.key]
    assert log.findings([], keys, 2) == []
    assert [line[:40] for line in log.findings([], [first.key, stranger.key], 2)] == [
        "the cosigned checkpoint: 1 witnesses hav"
    ]
    assert replace(log, cosigned=None).findings([], keys, 1) == [
        "no checkpoint is signed by witnesses, of which 1 should have signed one"
    ]
    at.entries[1] = made(99)[1]
    forked, _ = with_cosigned(at, first, second)
    assert any("has been rewritten" in line for line in forked.findings([], keys, 2))


def test_no_key_counts_for_two_witnesses_nor_the_log_s_for_one() -> None:
    """Who owns it has signed once, under whatever names; and a witness is another than whose log it is."""
    first = Cosigner.new("w1")
    again = replace(first, name="w2")
    log, _ = with_cosigned(world(), first, again)
    for keys in ([first.key, first.key], [first.key, again.key], [first.key, KEY]):
        assert ["1 witnesses have signed" in line for line in log.findings([], keys, 2)] == [True]


def test_what_a_witness_has_signed_is_not_signed_by_the_log() -> None:
    """Though its key be given as the log's."""
    cosigner = Cosigner.new(KEY.name)
    text = log_of(3).note(3).partition("\n\n")[0] + "\n"
    with pytest.raises(Wrong, match="has not signed"):
        open_note(signed(text, [cosigner.cosign(text, NOW)]), cosigner.key)


def test_the_verifier_of_one_file_counts_them_too(tmp_path: Path) -> None:
    """With nothing but Python's standard library."""
    at, cosigner = world(), Cosigner.new("w1")
    file, key, _ = written(at, tmp_path)
    log, _ = with_cosigned(at, cosigner)
    Path(file).write_text("".join(f"{line}\n" for line in log.lines()))

    def run(*more: str) -> tuple[int, str]:
        command = [sys.executable, "-I", "-S", str(verifier.__file__), file, key, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert run("--witness", str(cosigner.key), "--quorum", "1")[0] == 0
    code, said = run("--witness", str(Cosigner.new("w1").key), "--quorum", "1")
    assert (code, "0 witnesses have signed it, of at least 1" in said) == (1, True)


def test_a_key_as_text_is_the_same_key() -> None:
    """And one of another kind is none."""
    made_ = Cosigner.new("w1")
    assert Cosigner.parse(made_.dump()).key == made_.key
    assert Key.parse(str(made_.key)) == made_.key
    other = replace(made_, name="w2").dump().replace("w2", "w1")
    with pytest.raises(ValueError, match="of two keys"):
        Cosigner.parse(other)


@pytest.fixture
def in_test(monkeypatch: pytest.MonkeyPatch, logs: Logs) -> Callable[[dict[str, str]], None]:
    """A cell of the fleet with those labels, whose logs are those of the test."""
    fleet = parse_fleet(find_project().config_files())
    (first, *_) = fleet.cells

    def label(labels: dict[str, str]) -> None:
        class There(InCell):
            def bucket(self, kind: str) -> str:
                return logs.cell.bucket(kind)

            def name(self, kind: str) -> str:
                return f"test-{kind}"

        alias = {"TargetKeyId": aws.setting("LOG_KEY"), "AliasName": "alias/test-log"}
        aliases = {one["AliasName"] for one in boto3.client("kms").list_aliases()["Aliases"]}
        if alias["AliasName"] not in aliases:
            boto3.client("kms").create_alias(**alias)
        cell = first.model_copy(update={"labels": labels})
        monkeypatch.setattr(cli, "in_cell", lambda *_: There(cell, ORIGIN, boto3.Session()))
        monkeypatch.setattr(cli, "tell_tenants", lambda *_: None)

    logs.cell.key("acme", "t1")  # or the cell would have no directory, which says whether a hold is on
    label({})
    return label


CELL = "eu-west-1"


def test_a_cell_is_cosigned_by_the_command(
    logs: Logs, audit: Audit, in_test: Callable[[dict[str, str]], None], tmp_path: Path
) -> None:
    """From the witness's key to a verified quorum; a fork ends with 1."""
    box, key, state = tmp_path / "box", tmp_path / "w.key", tmp_path / "w.json"
    box.mkdir()
    code, public, _ = audit("witness", "key", "w.example", "--key", str(key), "--state", str(state))
    assert (code, oct(key.stat().st_mode & 0o777)) == (0, "0o600")
    in_test({"witnesses": f"{public.strip()} {box}"})
    for tenant in ("t1", "t2"):
        logs.tell(logs.archive(2, tenant=tenant))
    assert audit("cosign", CELL)[0] == 0
    answer = (
        "witness",
        "answer",
        str(box),
        "--key",
        str(key),
        "--state",
        str(state),
        "--log",
        str(_cell_key()),
    )
    assert "2 requests are answered" in audit(*answer)[2]
    code, said, _ = audit("cosign", CELL, "--json")
    told = json.loads(said)
    assert (code, {name: one["signed"] for name, one in told["logs"].items()}) == (
        0,
        {f"{ORIGIN}/acme/{tenant}": 1 for tenant in ("t1", "t2")},
    )
    verify = ("verify", CELL, "acme/t1", "--witness", public.strip())
    assert audit(*verify)[0] == 0
    assert audit(*verify[:4], str(Cosigner.new("w.example").key))[0] == 1
    assert audit(*verify, "--quorum", "2")[0] == 2
    state.write_text(state.read_text().replace("\\n2\\n", "\\n1\\n"))
    logs.tell(logs.archive(2))
    for _ in range(2):  # first for the size that it has now
        audit("cosign", CELL, "--of", "acme/t1")
        audit(*answer)
    code, said, _ = audit("cosign", CELL, "--of", "acme/t1")
    assert (code, "it refuses with 422" in said) == (1, True)


def test_what_can_t_be_a_witness_is_said(
    audit: Audit, in_test: Callable[[dict[str, str]], None], tmp_path: Path
) -> None:
    """What, where, and what would be right; nothing is changed."""
    key, state = tmp_path / "w.key", tmp_path / "w.json"
    public = str(Cosigner.new("w1").key)
    assert audit("cosign", CELL)[0] == 2
    for labels, said in (
        ({"witnesses": f"w1+abc {tmp_path}"}, "no public key"),
        ({"witnesses": f"{public} /nowhere"}, "s3://BUCKET/PREFIX, or a folder"),
        ({"witnesses": f"{public} {tmp_path}", "witness_quorum": "2"}, "a number from 1 to 1"),
        ({"witnesses": f"{public} {tmp_path}", "witness_quorum": "0"}, "a number from 1 to 1"),
        ({"witnesses": f"{public} {tmp_path}, {public} {tmp_path}"}, "another key for each"),
        ({"witnesses": f"{KEY} {tmp_path}"}, "a witness's key"),
    ):
        in_test(labels)
        code, _, told = audit("cosign", CELL)
        assert (code, said in told) == (2, True), told
    made_ = ("witness", "key", "w1", "--key", str(key), "--state", str(state))
    assert audit("witness", "key", "w 1", *made_[3:])[0] == 2
    state.touch()
    assert (audit(*made_)[0], key.exists()) == (2, False)
    state.unlink()
    assert audit(*made_)[0] == 0
    assert audit(*made_)[0] == 2
    answer = ("witness", "answer", str(tmp_path), "--key", str(key), "--state", str(state), "--log")
    assert audit(*answer, "no key")[0] == 2
    state.unlink()
    code, _, told = audit(*answer, public)
    assert (code, "without it a witness would cosign anything" in told) == (2, True)


def test_a_note_that_go_reads(logs: Logs, url: tuple[Place, Witness], of_go: Path, tmp_path: Path) -> None:
    """Go's sumdb/note takes the log's signature and the witness's of our cosigned note; another witness's it misses."""
    logs.tell(logs.archive(3))
    collected(logs, 1, Asked(url[1].cosigner.key, url[0]))
    folder = tmp_path / "log"
    for name in logs.objects("log", "acme/t1/"):
        path = folder / name.removeprefix("acme/t1/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(logs.content("log", name))
    (folder / CHECKPOINT).write_text(cosigned(logs))

    def go(witness: Key) -> tuple[int, str]:
        command = [str(of_go), str(folder), str(key_of(f"{ORIGIN}/acme/t1")), "", str(witness)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert go(url[1].cosigner.key) == (0, "3\n")
    assert go(Cosigner.new("url.example").key)[0] == 1
