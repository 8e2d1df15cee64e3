"""The store of a test that needs one release only."""

from __future__ import annotations

from pathlib import Path

from cellwave.releases.store import DirectoryStore


class OneRelease(DirectoryStore):
    """Its folder is the release's, whichever is asked for."""

    def path(self, digest: str) -> Path:
        """See ReleaseStore."""
        return self._root
