"""A log grows by what is archived: every event once, whoever is killed when, and however many are at it."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from audit.handlers.common import aws
from audit.handlers.log import append, keys, sequencer
from audit.handlers.log.append import CHECKPOINT, SALT_BYTES, Line, finish
from audit.handlers.log.store import Store
from audit.handlers.log.tree import WIDTH, consistency, inclusion
from audit.handlers.log.verifier import Entry, check_consistency, check_inclusion, check_log, leaf_hash
from cellwave.project import find_project
from cellwave.toolchain.gobuild import find_go
from tests.audit.logs import ORIGIN, Logs

KILLED = ("stage", "commit", "write", "keep", "replace", "remove", "unstage")  # what changes anything


@pytest.fixture(scope="session")
def of_go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that checks a log with Go's own packages alone; built once."""
    project = find_project(Path(__file__).parent)
    source = project.root / "tools" / "tlogcheck"
    program = project.root / ".cellwave" / f"tlogcheck-{folder_digest(source)}"
    if not program.exists():
        go = find_go(project.root / ".cellwave", source, lambda _line: None)
        built = tmp_path_factory.mktemp("go") / "tlogcheck"
        environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0"}
        subprocess.run([go, "build", "-o", built, "."], cwd=source, env=environment, check=True)
        shutil.copy(built, staged := program.with_name(f"{program.name}.{os.getpid()}"))
        staged.rename(program)
    return program


def folder_digest(folder: Path) -> str:
    """Of what its files hold."""
    content = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    return hashlib.sha256(content).hexdigest()[:16]


def whole(logs: Logs, size: int, tenant: str = "t1") -> None:
    """Assert that a log has so many entries, each of another archived event, and that all is as it was signed."""
    checkpoint = logs.checkpoint(tenant)
    events = logs.events(tenant)
    assert checkpoint.size == size == len(events)
    assert check_log(checkpoint, logs.entries(size, tenant), events) == []
    store = logs.store(tenant)
    assert store.staged(store.state()) is None


@pytest.mark.parametrize(
    "steps", [[1], [3, 1, 2], [WIDTH], [WIDTH - 1, 2], [2 * WIDTH + 5, WIDTH - 5, 1]], ids=str
)
def test_every_archived_event_has_an_entry(logs: Logs, steps: list[int]) -> None:
    """In a log of its tenant's, which its checkpoint sums up, signed by the cell's key; told of again it stays so."""
    keys = [logs.archive(step) for step in steps]
    for key in keys:
        assert logs.tell(key) == []
    whole(logs, sum(steps))
    assert logs.checkpoint().origin == f"{ORIGIN}/acme/t1"
    logs.tell(*keys)
    whole(logs, sum(steps))


def test_each_tenant_has_a_log_of_its_own(logs: Logs) -> None:
    """Its size, its salts and its name are no other's; what a name of a key may not hold is written otherwise."""
    logs.tell(logs.archive(3), logs.archive(2, tenant="a+b="), "_rejected/acme/2025/03/01/x.jsonl")
    whole(logs, 3)
    whole(logs, 2, "a+b=")
    assert logs.checkpoint("a+b=").origin == f"{ORIGIN}/acme/a%2Bb%3D"


def test_an_event_is_in_its_log_and_the_log_only_grows(logs: Logs) -> None:
    """By proofs made of the kept tiles; a checkpoint that a customer kept is the beginning of the newest."""
    logs.tell(logs.archive(WIDTH + 44))
    old = logs.checkpoint()
    logs.tell(logs.archive(WIDTH))
    new = logs.checkpoint()
    store = logs.store()
    hashes = store.hashes(new.size)
    check_consistency(old.size, old.root, new.size, new.root, consistency(old.size, new.size, hashes))
    entries = logs.entries(new.size)
    for place in store.places(logs.events()).values():
        if place.index in (0, 299, 300, new.size - 1):
            leaf = leaf_hash(entries[place.index])
            proof = inclusion(place.index, new.size, hashes)
            check_inclusion(leaf, place.index, new.size, new.root, proof)


def test_an_event_that_is_archived_twice_is_logged_once(logs: Logs) -> None:
    """A file that is uploaded again under another name is archived again: its events are the same."""
    line = Line("1" * 32, b'{"eventId": "' + b"1" * 32 + b'"}')
    store = logs.store()
    assert append.append(store, [line, line], keys.signer_of("acme", "t1"), sequencer._now) == 1
    assert append.append(store, [line], keys.signer_of("acme", "t1"), sequencer._now) == 0
    assert store.state().size == 1


def test_an_entry_tells_nothing_of_its_event(logs: Logs) -> None:
    """Equal lines have other commitments, as each has a salt of its own: an erased event can't be guessed."""
    logs.tell(logs.archive(2))
    places = logs.store().places(logs.events())
    assert len({place.salt for place in places.values()}) == 2
    assert {len(place.salt) for place in places.values()} == {SALT_BYTES}
    commitments = {Entry.parse(data).commitment for data in logs.entries(2)}
    assert len(commitments) == 2


def test_a_clock_that_goes_back_dates_nothing_back(logs: Logs) -> None:
    """An entry is never older than the one before it."""
    store, clock = (
        logs.store(),
        iter([datetime(2027, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)]),
    )
    for number in (1, 2):
        append.append(
            store, [Line(f"{number:032}", b"{}")], keys.signer_of("acme", "t1"), lambda: next(clock)
        )
    assert {Entry.parse(data).at for data in logs.entries(2)} == {"2027-01-01T00:00:00.000Z"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_log_is_whole_whenever_its_writer_is_killed(
    logs: Logs, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Before and after each thing that it writes; whoever is told next goes on."""
    kept = 0
    for kill_at in itertools.count(1):
        died = False
        with monkeypatch.context() as patch:
            _kill(patch, kill_at, when)
            key = logs.archive(100)
            try:
                logs.tell(key)
            except RuntimeError:
                died = True
        logs.tell(logs.archive(100, object_=f"next-{kill_at}"))
        logs.tell(key)
        kept += 200
        whole(logs, kept)
        if not died:
            break
    assert kill_at > 8


def _kill(patch: pytest.MonkeyPatch, kill_at: int, when: str) -> None:
    seen = itertools.count(1)

    def dying(name: str) -> Any:
        real = getattr(Store, name)

        def call(*arguments: Any, **named: Any) -> Any:
            turn = next(seen) == kill_at
            if turn and when == "before":
                raise KeyError("killed")
            answer = real(*arguments, **named)
            if turn:
                raise KeyError("killed")
            return answer

        return call

    for name in KILLED:
        patch.setattr(Store, name, dying(name))


def test_many_writers_at_once_lose_and_double_nothing(logs: Logs) -> None:
    """Each of six has events of its own and some that all have; none fails, and who was too slow every time is told
    again."""
    keys = [[logs.archive(5) for _ in range(3)] for _ in range(6)]
    common = logs.archive(5)

    def tell(own: list[str]) -> None:
        for key in own:
            told = [key, common]
            while told:
                told = logs.tell(*told)

    aws.s3(), aws.table("test-log")  # made once, before threads would
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(tell, keys))
    whole(logs, 95)


def test_what_others_were_faster_at_is_no_fault(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The messages come again, and the function has not failed."""
    key = logs.archive(1)
    monkeypatch.setattr(Store, "commit", lambda *_: False)
    monkeypatch.setattr(append, "FASTEST", 0)
    assert logs.tell(key) == [key]


def test_a_tile_that_is_gone_is_a_fault(logs: Logs) -> None:
    """Nobody has made the log grow meanwhile: it can't go on, and says so."""
    logs.tell(logs.archive(3))
    aws.s3().delete_object(Bucket=logs.cell.bucket("log"), Key="acme/t1/tile/0/000.p/3")
    with pytest.raises(RuntimeError, match="failed"):
        logs.tell(logs.archive(1))


def test_one_tenant_s_trouble_is_no_other_s(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its messages alone come again."""
    mine, other = logs.archive(1), logs.archive(1, tenant="t2")
    real = Store.commit

    def commit(store: Store, old: Any, new: Any) -> bool:
        if store.tenant == "t2":
            raise KeyError("trouble")
        return real(store, old, new)

    monkeypatch.setattr(Store, "commit", commit)
    assert sequencer.log_told({key: logs.message(key) for key in (mine, other)}) == {other: "failed"}
    whole(logs, 1)


def test_what_the_queue_tells_is_logged_and_deleted(logs: Logs) -> None:
    """Once a minute, all that came since: a log grows once, however many messages tell of it."""
    sqs, queue = boto3.client("sqs"), os.environ["LOG_QUEUE"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "30"})
    for _ in range(23):
        sqs.send_message(QueueUrl=queue, MessageBody=logs.message(logs.archive(1)))
    assert sequencer.handler() == {"messages": 23}
    whole(logs, 23)
    assert len({Entry.parse(data).at for data in logs.entries(23)}) == 1
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "0"})
    assert sequencer.handler() == {"messages": 0}


def test_what_could_not_be_logged_stays_in_the_queue(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function fails, and the message comes again; without time left nothing is begun."""
    sqs, queue = boto3.client("sqs"), os.environ["LOG_QUEUE"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "30"})
    sqs.send_message(QueueUrl=queue, MessageBody=logs.message(logs.archive(1)))

    class Late:
        """A call that is nearly over."""

        def get_remaining_time_in_millis(self) -> int:
            return sequencer.RESERVE_MS

    assert sequencer.handler(None, Late()) == {"messages": 0}
    monkeypatch.delattr(Store, "commit")
    with pytest.raises(RuntimeError, match="1 messages failed"):
        sequencer.handler()
    about = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert about["ApproximateNumberOfMessagesNotVisible"] == "1"


def test_an_object_that_can_t_be_read_holds_up_no_other(logs: Logs) -> None:
    """Of the same tenant either: its own message alone comes again. What is none of a tenant's is passed over."""
    good, bad = logs.archive(2), "acme/t1/2025/03/01/bad.jsonl"
    logs.put(bad, b'{"eventName": "of no id"}\n')
    told = {key: logs.message(key) for key in (bad, good, "acme/t1/2025/gone.jsonl", "inventory.csv", "a/b")}
    assert sequencer.log_told(told) == {bad: "failed", "acme/t1/2025/gone.jsonl": "failed"}
    assert logs.checkpoint().size == 2


def test_an_event_s_numbers_may_be_as_long_as_they_like(logs: Logs) -> None:
    """What was accepted is logged: Python alone would read no number of 5,000 digits."""
    line = b'{"eventId": "' + b"1" * 32 + b'", "eventDetails": {"n": ' + b"9" * 5000 + b"}}\n"
    logs.put("acme/t1/2025/03/01/long.jsonl", line)
    assert logs.tell("acme/t1/2025/03/01/long.jsonl") == []
    assert logs.checkpoint().size == 1


def test_what_there_is_no_time_for_is_given_back(logs: Logs) -> None:
    """The tenants before are done, and their messages with them; the others' can be had at once."""
    sqs, queue = boto3.client("sqs"), os.environ["LOG_QUEUE"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "600"})
    for number in range(12):
        sqs.send_message(QueueUrl=queue, MessageBody=logs.message(logs.archive(1, tenant=f"t{number}")))
    times = itertools.chain([60_000] * 5, itertools.repeat(0))

    class Short:
        """A call in which there is time for four tenants."""

        def get_remaining_time_in_millis(self) -> int:
            return next(times)

    assert sequencer.handler(None, Short()) == {"messages": 4}
    assert sequencer.handler() == {"messages": 8}


def test_a_checkpoint_never_goes_back(logs: Logs) -> None:
    """Who was overtaken while it wrote leaves the newer one."""
    logs.tell(logs.archive(3))
    old = logs.store().state()
    logs.tell(logs.archive(3))
    append._publish(logs.store(), old, keys.signer_of("acme", "t1"))
    assert logs.checkpoint().size == 6
    assert finish(logs.store(), keys.signer_of("acme", "t1")).size == 6


def test_a_verifier_that_nobody_here_wrote_agrees(logs: Logs, of_go: Path, tmp_path: Path) -> None:
    """Go's sumdb/tlog and sumdb/note read our tiles and our notes, prove every entry, and the growth from an old
    checkpoint; with a byte turned they don't."""
    logs.tell(logs.archive(WIDTH + 3))
    store = logs.store()
    (tmp_path / "old").write_bytes(store.read(CHECKPOINT) or b"")
    logs.tell(logs.archive(2 * WIDTH))
    for key in logs.objects("log", "acme/t1/"):
        path = tmp_path / "log" / key.removeprefix("acme/t1/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(logs.content("log", key))
    public = keys.key_of(logs.checkpoint().origin)

    def go() -> tuple[int, str]:
        command = [str(of_go), str(tmp_path / "log"), str(public), str(tmp_path / "old")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert go() == (0, f"{3 * WIDTH + 3}\n")
    tile = tmp_path / "log" / "tile" / "0" / "001"
    content = bytearray(tile.read_bytes())
    content[40] ^= 1
    tile.write_bytes(content)
    assert go()[0] == 1
