"""Build a release, and let a held one go again: each leaves a line in the journal."""

from __future__ import annotations

from dataclasses import dataclass

from cellwave.release import Release
from cellwave.releases.store import Hold, other_names, versions_of
from cellwave.usecases.surroundings import Surroundings


@dataclass(frozen=True)
class Built:
    """A new release. `left_out`: why each path of the tree is not in it; `same_as`: other versions of its content."""

    release: Release
    left_out: dict[str, str]
    same_as: list[str]
    held: Hold | None


def build(around: Surroundings, version: str) -> Built:
    """Freeze the working tree as a release; BadInput when the version is taken or the tree is no release."""
    from cellwave.releases.build import build_release

    left_out: dict[str, str] = {}
    made = build_release(around.project, version, left_out=left_out.__setitem__, report=around.tell)
    around.note("built", made.digest, version, f"build/{version}/{made.digest}")
    return Built(made, left_out, other_names(made, around.store.list()), around.store.held(made.digest))


def unhold(around: Surroundings, wanted: str) -> list[str]:
    """Let a held release be rolled out again; the other versions of its content, which are held no more either."""
    release = around.store.get(wanted)
    around.store.release_hold(release.digest)
    known = around.store.list()
    names = ", ".join(versions_of(release.digest, known))
    key = f"unhold/{release.digest}/{len(around.records.journal())}"
    around.note("unheld", f"{release.digest}: {names}", release.version, key)
    return other_names(release, known)
