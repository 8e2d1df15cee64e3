"""Releases in an S3 bucket, for a team that shares them; each is fetched once into a local folder and
verified.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from cellwave.errors import BadInput, Unavailable
from cellwave.faults import of_error
from cellwave.release import Release
from cellwave.releases.store import DIGEST_LENGTH, Hold, choose, refuse_other, write_folder

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_EPOCH = (1980, 1, 1, 0, 0, 0)


class S3Store:
    """Objects `<prefix>/<digest>.zip`, `<prefix>/versions/<version>.json` and `<prefix>/held/<digest>.json`.

    A version's object is written last and only where there is none (If-None-Match), so it never changes.
    """

    def __init__(self, client: S3Client, bucket: str, prefix: str, cache: Path) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/".lstrip("/")
        self._cache = cache

    @classmethod
    def at(cls, url: str, cache: Path) -> Self:
        """The store at `s3://bucket/prefix`; BadInput for any other address."""
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc:
            raise BadInput("CELLWAVE_RELEASES", f"{url!r}", "s3://bucket/prefix")
        return cls(boto3.client("s3"), parts.netloc, parts.path, cache)

    def put(self, release: Release, content: Mapping[str, bytes]) -> Release:
        """See ReleaseStore."""
        key = f"versions/{release.version}.json"
        if known := self._manifest(key):
            refuse_other(known, release)
        self._write(f"{release.digest}.zip", _zipped(release, content), once=True)
        if not self._write(key, release.model_dump_json().encode(), once=True):
            refuse_other(self._manifest(key) or release, release)
        return release

    def get(self, name: str) -> Release:
        """See ReleaseStore."""
        return choose(name, self.list())

    def list(self) -> tuple[Release, ...]:
        """See ReleaseStore."""
        below = f"{self._prefix}versions/"
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=below)
            found = [item for page in pages for item in page.get("Contents", [])]
        except (ClientError, BotoCoreError) as error:
            raise self._unavailable(error) from None
        keys = [item["Key"] for item in sorted(found, key=lambda item: (item["LastModified"], item["Key"]))]
        manifests = (self._manifest(key.removeprefix(self._prefix)) for key in keys)
        return tuple(release for release in manifests if release is not None)

    def path(self, digest: str) -> Path:
        """See ReleaseStore. Unavailable when what the bucket holds is not what was built.

        What was fetched before was verified then: a rollout that has begun needs the bucket no more.
        """
        if len(digest) == DIGEST_LENGTH and (self._cache / digest).is_dir():
            return self._cache / digest
        release = self.get(digest)
        folder = self._cache / release.digest
        if not folder.is_dir():
            write_folder(folder, release, self._content(release))
        return folder

    def hold(self, digest: str, reason: str, by: str) -> None:
        """See ReleaseStore."""
        self._write(f"held/{digest}.json", Hold(reason=reason, by=by).model_dump_json().encode())

    def held(self, digest: str) -> Hold | None:
        """See ReleaseStore."""
        text = self._read(f"held/{digest}.json")
        return Hold.model_validate_json(text) if text is not None else None

    def release_hold(self, digest: str) -> None:
        """See ReleaseStore."""
        try:
            self._client.delete_object(Bucket=self._bucket, Key=f"{self._prefix}held/{digest}.json")
        except (ClientError, BotoCoreError) as error:
            raise self._unavailable(error) from None

    def _content(self, release: Release) -> dict[str, bytes]:
        """The files of a release, verified against its manifest (whose names alone are taken from the
        archive).
        """
        key = f"{release.digest}.zip"
        data = self._read(key)
        if data is None:
            raise Unavailable(f"{self._name(key)} is gone", hint="build the release again")
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                content = {path: archive.read(path) for path in release.files}
        except (zipfile.BadZipFile, KeyError) as error:
            raise Unavailable(f"{self._name(key)} is damaged: {error}", hint="build it again") from None
        changed = [
            path for path, digest in release.files.items() if sha256(content[path]).hexdigest() != digest
        ]
        if changed:
            raise Unavailable(f"{self._name(key)} is damaged: {', '.join(changed)}", hint="build it again")
        return content

    def _manifest(self, key: str) -> Release | None:
        """A version's manifest; Unavailable when what is kept there is none."""
        text = self._read(key)
        try:
            return None if text is None else Release.model_validate_json(text)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise Unavailable(f"{self._name(key)} is damaged: {why}", hint="restore or remove it") from None

    def _read(self, key: str) -> bytes | None:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None
        except (ClientError, BotoCoreError) as error:
            raise self._unavailable(error) from None

    def _write(self, key: str, data: bytes, *, once: bool = False) -> bool:
        """Write an object; with `once` only where there is none (False when there is)."""
        try:
            if once:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._prefix + key, Body=data, IfNoneMatch="*"
                )
            else:
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data)
        except ClientError as error:
            if once and error.response["Error"]["Code"] in ("PreconditionFailed", "412"):
                return False
            raise self._unavailable(error) from None
        except BotoCoreError as error:
            raise self._unavailable(error) from None
        return True

    def _unavailable(self, error: Exception) -> Unavailable:
        hint = "check CELLWAVE_RELEASES and the credentials"
        return Unavailable(f"{self._name('')}: {error}", hint=hint, fault=of_error(error))

    def _name(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"


def _zipped(release: Release, content: Mapping[str, bytes]) -> bytes:
    """Equal content gives equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in sorted(content.items()):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.external_attr = (0o755 if path in release.executable else 0o644) << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
