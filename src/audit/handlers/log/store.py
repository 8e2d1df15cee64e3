"""Where a tenant's log is kept: tiles and checkpoint in a bucket, its size and each event's place in a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from audit.handlers.common.aws import s3, setting, table
from audit.handlers.common.index import partition
from audit.handlers.log.tree import HEIGHT, WIDTH, Hashes, hashes_of, tile_path

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_s3 import S3Client

STATE = "state"  # the sort key of a log's size and root; the others are ids of events
STAGED = "_staged"  # no application's folder: an id begins with a letter or digit
COSIGNED = "cosigned"  # beside the checkpoint: the newest that enough witnesses have signed
GET = 100  # items a call, as DynamoDB has it


class Missing(LookupError):
    """A tile is not where it should be: the log has grown meanwhile, or somebody has taken it away."""


@dataclass(frozen=True)
class Place:
    """Where an event is in its log, the salt of its commitment, the archive's object that has it ("": not known, as in
    releases of before), and when it ends (seconds since 1970), if it does."""

    event: str
    index: int
    salt: bytes
    object: str = ""
    end: int | None = None


@dataclass(frozen=True)
class State:
    """How far a log has grown: so many leaves, their root, and when the last of them was logged."""

    size: int = 0
    root: str = ""
    at: str = ""

    @property
    def name(self) -> str:
        """What leads to this state is staged under this name: no other ever has it."""
        return f"{self.size}-{self.root}"


@dataclass(frozen=True)
class Stage:
    """All that a log gets with a new state: kept before the log has it, and written to its places afterwards."""

    state: State
    files: Mapping[str, bytes]  # by path
    places: Sequence[Place]
    superseded: Sequence[str] = field(default=())  # partial tiles of the state before

    def dump(self) -> bytes:
        """As JSON."""
        return json.dumps(
            {
                "state": [self.state.size, self.state.root, self.state.at],
                "files": {path: content.hex() for path, content in self.files.items()},
                "places": [[place.event, place.index, place.salt.hex()] for place in self.places],
                # Apart: a release of before reads the three.
                "objects": [place.object for place in self.places],
                "ends": [place.end for place in self.places],
                "superseded": list(self.superseded),
            }
        ).encode()

    @classmethod
    def load(cls, content: bytes) -> Stage:
        """As it was dumped."""
        found = json.loads(content)
        objects = found.get("objects") or [""] * len(found["places"])
        ends = found.get("ends") or [None] * len(found["places"])
        return cls(
            State(*found["state"]),
            {path: bytes.fromhex(content) for path, content in found["files"].items()},
            [
                Place(event, index, bytes.fromhex(salt), key, end)
                for (event, index, salt), key, end in zip(found["places"], objects, ends, strict=True)
            ],
            found["superseded"],
        )


@dataclass(frozen=True)
class Store:
    """The log of one tenant of an application, in a cell's bucket and table of logs."""

    application: str
    tenant: str
    s3: S3Client
    bucket: str
    table: Table

    @classmethod
    def here(cls, application: str, tenant: str) -> Store:
        """In the cell of this function."""
        return cls(application, tenant, s3(), setting("LOG_BUCKET"), table(setting("LOG_TABLE")))

    def state(self) -> State:
        """How far it has grown."""
        found = self.table.get_item(Key=self._key(STATE), ConsistentRead=True).get("Item")
        return State(int(str(found["n"])), str(found["root"]), str(found["at"])) if found else State()

    def commit(self, old: State, new: State) -> bool:
        """Let it grow from one state to another; False when it has grown meanwhile."""
        how: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if old.size:
            how = {
                "ConditionExpression": "n = :n AND root = :root",
                "ExpressionAttributeValues": {":n": old.size, ":root": old.root},
            }
        try:
            self.table.put_item(
                Item={**self._key(STATE), "n": new.size, "root": new.root, "at": new.at}, **how
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def places(self, events: Iterable[str]) -> dict[str, Place]:
        """Where those of these events are that it has."""
        wanted, client, found = sorted({*events}), self.table.meta.client, dict[str, Place]()
        for begin in range(0, len(wanted), GET):
            keys = [self._key(event) for event in wanted[begin : begin + GET]]
            asked: Any = {self.table.name: {"Keys": keys, "ConsistentRead": True}}
            while asked:
                answer: Any = client.batch_get_item(RequestItems=asked)
                for item in answer["Responses"].get(self.table.name, ()):
                    end = int(item["until"]) if "until" in item else None
                    found[item["sk"]] = Place(
                        item["sk"], int(item["n"]), bytes(item["salt"]), item.get("object", ""), end
                    )
                asked = answer.get("UnprocessedKeys")
        return found

    def keep(self, places: Sequence[Place]) -> None:
        """Write down where events are."""
        with self.table.batch_writer() as batch:
            for place in places:
                where = {"n": place.index, "salt": place.salt, "object": place.object}
                end = {} if place.end is None else {"until": place.end}
                batch.put_item(Item={**self._key(place.event), **where, **end})

    def stage(self, stage: Stage) -> None:
        """Keep what the log is to get. Those that it never got expire."""
        self._put(self._staged(stage.state), stage.dump())

    def staged(self, state: State) -> Stage | None:
        """What the log got with this state and may not have in its places yet; None when it has."""
        found = self._get(self._staged(state))
        return Stage.load(found[0]) if found else None

    def unstage(self, state: State) -> None:
        """All of it is in its places, or the log has never got it."""
        self._delete(self._staged(state))

    def read(self, path: str) -> bytes | None:
        """What is kept at a path; None when nothing is."""
        found = self._get(self._path(path))
        return found and found[0]

    def read_tagged(self, path: str) -> tuple[bytes, str] | None:
        """What is kept at a path, and its ETag; None when nothing is."""
        return self._get(self._path(path))

    def write(self, path: str, content: bytes) -> None:
        """Keep that at a path."""
        self._put(self._path(path), content)

    def replace(self, path: str, content: bytes, before: str | None) -> bool:
        """Keep that in the place of what has that ETag (None: of nothing); False when another was there first."""
        try:
            self._put(self._path(path), content, **({"IfMatch": before} if before else {"IfNoneMatch": "*"}))
        except ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"):
                return False
            raise
        return True

    def remove(self, path: str) -> None:
        """Keep nothing at a path."""
        self._delete(self._path(path))

    def hashes(self, size: int) -> Hashes:
        """The hashes of tiles, as the log of `size` leaves has them (`tree.Hashes`)."""

        def of(level: int, index: int, _least: int) -> tuple[bytes, ...]:
            full, width = divmod(size >> (HEIGHT * level), WIDTH)
            path = tile_path(str(level), index, WIDTH if index < full else width)
            return hashes_of(self.tile(path, index))

        return of

    def tile(self, path: str, index: int) -> bytes:
        """What is kept of a tile, full in the place of partial; raises Missing."""
        full = tile_path(path.split("/")[1], index, WIDTH)
        content = self.read(path) or (self.read(full) if path != full else None)
        if content is None:
            raise Missing(f"{self._path(path)} is not there")
        return content

    def _key(self, sort: str) -> dict[str, str]:
        return {"pk": partition(self.application, self.tenant), "sk": sort}

    def _path(self, path: str) -> str:
        return f"{self.application}/{self.tenant}/{path}"

    def _staged(self, state: State) -> str:
        return f"{STAGED}/{self._path(state.name)}"

    def _get(self, key: str) -> tuple[bytes, str] | None:
        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return answer["Body"].read(), answer["ETag"]

    def _put(self, key: str, content: bytes, **how: Any) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content, **how)

    def _delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=key)


def origin_of(base: str, application: str, tenant: str) -> str:
    """A log's name in checkpoints: without what a key's name may not hold."""
    return f"{base}/{application}/{quote(tenant, safe='')}"
