"""Where releases are kept. The port, what all stores share, and the store in a directory."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from cellwave.errors import BadInput, Unavailable
from cellwave.fleet.yamlfile import did_you_mean
from cellwave.frozen import Frozen
from cellwave.release import MANIFEST, Release

DIGEST_LENGTH = 64
_BLOCK = 4096
_SPARE = 1 << 20


class Hold(Frozen):
    """Why a release must not be rolled out, and who says so."""

    reason: str
    by: str


class ReleaseStore(Protocol):
    """Immutable releases by version name and digest; several names may stand for one content."""

    def put(self, release: Release, content: Mapping[str, bytes]) -> Release:
        """Keep a release (its files' bytes by path), whole or not at all; the same again changes nothing.

        BadInput: the version names other content already. Unavailable: no space.
        """
        ...

    def get(self, name: str) -> Release:
        """The release of a version, a digest or the unique beginning of a digest; BadInput for any other."""
        ...

    def list(self) -> tuple[Release, ...]:
        """Every version, in the order of being built."""
        ...

    def path(self, digest: str) -> Path:
        """The local folder with the release's files and manifest; BadInput when there is no such digest."""
        ...

    def hold(self, digest: str, reason: str, by: str) -> None:
        """Mark a release as one that must not be rolled out; the last reason stands."""
        ...

    def held(self, digest: str) -> Hold | None:
        """The hold of a release, if it has one."""
        ...

    def release_hold(self, digest: str) -> None:
        """Take the hold away; none is fine."""
        ...


def choose(name: str, releases: Iterable[Release]) -> Release:
    """The release of that version, digest or unique beginning (4 digits or more) of a digest. Pure."""
    known = {release.version: release for release in releases}
    if name in known:
        return known[name]
    matching = {r.digest: r for r in known.values() if len(name) >= 4 and r.digest.startswith(name)}
    if len(matching) > 1:
        raise BadInput("release", f"{name!r} begins {len(matching)} digests", "more of its digits")
    if not matching:
        raise BadInput("release", f"there is no release {name!r}", did_you_mean(name, known, "releases"))
    return next(iter(matching.values()))


def versions_of(digest: str, releases: Iterable[Release]) -> tuple[str, ...]:
    """The versions that name this content: what is said or done to one of them, is to all. Pure."""
    return tuple(release.version for release in releases if release.digest == digest)


def other_names(release: Release, releases: Iterable[Release]) -> list[str]:
    """The other versions that name the same content. Pure."""
    return [version for version in versions_of(release.digest, releases) if version != release.version]


def refuse_other(old: Release, new: Release) -> None:
    """BadInput, saying what differs, unless both are the same content. Pure."""
    if old.digest == new.digest:
        return
    paths = sorted(
        {path for path in {**old.files, **new.files} if old.files.get(path) != new.files.get(path)}
        | (set(old.executable) ^ set(new.executable))
    )
    shown = [f"{_change(old, new, path)} {path}" for path in paths[:5]]
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    what = ", ".join(shown) + more or "the folders of code"
    raise BadInput("--version", f"{new.version} names other content already ({what})", "a new version name")


def _change(old: Release, new: Release, path: str) -> str:
    return "added" if path not in old.files else "removed" if path not in new.files else "changed"


def write_folder(folder: Path, release: Release, content: Mapping[str, bytes]) -> None:
    """Make `folder` the release's, at once: it is written beside and renamed. One that is there stays.

    Unavailable when the disk hasn't the space, which is looked at first.
    """
    if folder.is_dir():
        return
    executable = set(release.executable)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_space(folder.parent, content)
    with _no_space(folder.parent), tempfile.TemporaryDirectory(prefix=".new-", dir=folder.parent) as scratch:
        new = Path(scratch, "release")
        for path, data in content.items():
            target = new / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            target.chmod(0o755 if path in executable else 0o644)
        (new / MANIFEST).write_text(release.model_dump_json(indent=1) + "\n")
        try:
            new.rename(folder)
        except OSError as error:
            # Another process put the same content meanwhile.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _check_space(folder: Path, content: Mapping[str, bytes]) -> None:
    needed = sum(-(-len(data) // _BLOCK) * _BLOCK + _BLOCK for data in content.values()) + _SPARE
    free = shutil.disk_usage(folder).free
    if free < needed:
        figures = f"{free / 1e6:.1f} MB free in {folder}, the release needs {needed / 1e6:.1f} MB"
        raise Unavailable(
            f"the disk is full: {figures}",
            hint="free some space, or set CELLWAVE_HOME elsewhere",
            fault="disk",
        )


@contextmanager
def _no_space(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(folder).free / 1e6
        raise Unavailable(
            f"the disk filled up: {free:.1f} MB free in {folder}", hint="free some space", fault="disk"
        ) from None


class DirectoryStore:
    """Releases below one folder: `<digest>/`, `versions/<version>.json`, `held/<digest>.json`.

    A release is visible once its version file is: that one is written last, and linked, never overwritten.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._versions = root / "versions"
        self._held = root / "held"

    def put(self, release: Release, content: Mapping[str, bytes]) -> Release:
        """See ReleaseStore."""
        known = self._version(release.version)
        if known is not None:
            refuse_other(known, release)
        write_folder(self._root / release.digest, release, content)
        self._name(release)
        return release

    def get(self, name: str) -> Release:
        """See ReleaseStore."""
        return choose(name, self.list())

    def list(self) -> tuple[Release, ...]:
        """See ReleaseStore."""
        files = sorted(self._versions.glob("*.json"), key=lambda file: (file.stat().st_mtime_ns, file.name))
        return tuple(Release.model_validate_json(file.read_bytes()) for file in files)

    def path(self, digest: str) -> Path:
        """See ReleaseStore. Of a whole digest no manifest is read: every step of a rollout asks for one."""
        if len(digest) == DIGEST_LENGTH and (self._root / digest).is_dir():
            return self._root / digest
        release = self.get(digest)
        folder = self._root / release.digest
        if not folder.is_dir():
            raise Unavailable(
                f"the folder of release {release.version} is gone: {folder}",
                hint="build it again",
                fault="host",
            )
        return folder

    def hold(self, digest: str, reason: str, by: str) -> None:
        """See ReleaseStore."""
        with self._scratch(Hold(reason=reason, by=by)) as new:
            self._held.mkdir(exist_ok=True)
            new.replace(self._held / f"{digest}.json")

    def held(self, digest: str) -> Hold | None:
        """See ReleaseStore."""
        file = self._held / f"{digest}.json"
        return Hold.model_validate_json(file.read_bytes()) if file.is_file() else None

    def release_hold(self, digest: str) -> None:
        """See ReleaseStore."""
        (self._held / f"{digest}.json").unlink(missing_ok=True)

    def _version(self, version: str) -> Release | None:
        file = self._versions / f"{version}.json"
        return Release.model_validate_json(file.read_bytes()) if file.is_file() else None

    def _name(self, release: Release) -> None:
        """Give the version its content, unless it has one."""
        with _no_space(self._root), self._scratch(release) as new:
            self._versions.mkdir(exist_ok=True)
            try:
                os.link(new, self._versions / f"{release.version}.json")
            except FileExistsError:
                refuse_other(self._version(release.version) or release, release)

    @contextmanager
    def _scratch(self, value: Frozen) -> Iterator[Path]:
        self._root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=self._root) as folder:
            file = Path(folder, "value.json")
            file.write_text(value.model_dump_json(indent=1) + "\n")
            yield file
