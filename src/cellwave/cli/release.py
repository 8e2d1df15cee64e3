"""`cellwave release`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwave.cli.context import here, whoami
from cellwave.cli.show import console, row, table, tell, tell_json
from cellwave.errors import CellwaveError
from cellwave.releases.verify import verify_release
from cellwave.rollout.state import Note

app = typer.Typer(help="Build, list and verify releases.", no_args_is_help=True, rich_markup_mode="rich")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def build(
    version: Annotated[
        str, typer.Option("--version", help="The release's name; a name is given once for ever.")
    ],
    as_json: Json = False,
) -> None:
    """Freeze the working tree's programs, code, fleet and waves as a release.

    Example: [bold]cellwave release build --version v2[/]
    """
    from cellwave.releases.build import build_release

    context = here()
    made = build_release(context.project, version)
    context.records.note(
        f"build/{version}/{made.digest}",
        Note(kind="built", text=made.digest, actor=whoami(), subject=version),
    )
    if as_json:
        tell_json({"version": made.version, "digest": made.digest, "files": len(made.files)})
    else:
        tell(f"{made.version}  {made.digest[:12]}  {len(made.files)} files")


@app.command("list")
def list_releases(as_json: Json = False) -> None:
    """List the releases, and which are held.

    Example: [bold]cellwave release list[/]
    """
    store = here().store
    rows = [(item.version, item.digest, store.held(item.digest)) for item in store.list()]
    if as_json:
        tell_json([{"version": v, "digest": d, "held": held.reason if held else None} for v, d, held in rows])
        return
    shown = table("release", "digest", "held")
    for version, digest, held in rows:
        row(shown, version, digest[:12], f"by {held.by}: {held.reason}" if held else "")
    console().print(shown)


@app.command()
def verify(wanted: Annotated[str, typer.Argument(metavar="RELEASE")]) -> None:
    """Compute every hash of a release again.

    Example: [bold]cellwave release verify v2[/]
    """
    store = here().store
    release = store.get(wanted)
    faults = verify_release(store.path(release.digest))
    if faults:
        raise CellwaveError(f"{release.version} is not what was built: {faults}", hint="build it again")
    tell(f"{release.version}  {release.digest[:12]}  {len(release.files)} files, all as built")


@app.command()
def unhold(wanted: Annotated[str, typer.Argument(metavar="RELEASE")]) -> None:
    """Let a held release be rolled out again.

    Example: [bold]cellwave release unhold v2[/]
    """
    context = here()
    release = context.store.get(wanted)
    context.store.release_hold(release.digest)
    context.records.note(
        f"unhold/{release.digest}/{len(context.records.journal())}",
        Note(kind="unheld", text=release.digest, actor=whoami(), subject=release.version),
    )
