"""A release: immutable and content-addressed."""

from __future__ import annotations

from cellwave.frozen import Frozen, digest_of


class Release(Frozen):
    """What `cellwave release build` froze. Its folder in the store holds `files` and this manifest
    (release.json).

    `files` maps each path (relative to the release's folder) to the SHA-256 of its content. `code` maps a
    service (as `<service>`) to the digest of the code that must be seen running; services without code are
    not in it.
    """

    version: str
    files: dict[str, str]
    code: dict[str, str]

    @property
    def digest(self) -> str:
        """The SHA-256 of the content (the version's name is not part of it)."""
        return digest_of({"files": self.files, "code": self.code})
