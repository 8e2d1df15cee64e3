"""A release: immutable and content-addressed."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator

from cellwave.frozen import Frozen, digest_of

MANIFEST = "release.json"  # beside a release's files


def _inside(path: str) -> str:
    """A store may be shared: whoever can write a manifest must not be able to write anywhere else."""
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise ValueError("a path that leads out of the release")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]


class Release(Frozen):
    """What `cellwave release build` froze. Its folder in the store holds `files` and this manifest
    (release.json).

    `files` maps each path (relative to the release's folder) to the SHA-256 of its content. `executable` are those
    of them that may be run. `code` maps a service (as `<service>`) to the digest of the code that must be seen
    running; services without code are not in it. `views` says that its programs run in views of their own (decision
    0058): one of an earlier cellwave's has none.
    """

    version: str
    files: dict[RelativePath, str]
    code: dict[str, str]
    executable: tuple[RelativePath, ...] = ()
    views: bool = False

    @property
    def tree_name(self) -> str:
        """Its version when nobody gave it one: it is the working tree of a `cellwave up`."""
        return f"tree-{self.digest[:12]}"

    @property
    def digest(self) -> str:
        """The SHA-256 of the content (the version's name is not part of it)."""
        content: dict[str, object] = {"files": self.files, "code": self.code}
        # Left out where there is none: a release of before there were such keeps its digest.
        content |= {"executable": sorted(self.executable)} if self.executable else {}
        content |= {"views": True} if self.views else {}
        return digest_of(content)
