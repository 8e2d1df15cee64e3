"""Which store a project's releases are kept in."""

from __future__ import annotations

import os

from cellwave.project import Project
from cellwave.releases.store import DirectoryStore, ReleaseStore


def open_store(project: Project) -> ReleaseStore:
    """The project's store: `<home>/releases`, or what CELLWAVE_RELEASES names (`s3://bucket/prefix`)."""
    local = project.releases
    url = os.environ.get("CELLWAVE_RELEASES")
    if not url:
        return DirectoryStore(local)
    from cellwave.releases.s3 import S3Store

    return S3Store.at(url, cache=local)
