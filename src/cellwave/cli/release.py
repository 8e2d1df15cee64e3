"""`cellwave release`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import console, row, table, tell, tell_json
from cellwave.errors import CellwaveError
from cellwave.releases.store import other_names
from cellwave.releases.verify import verify_release
from cellwave.usecases import releases as usecases

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
    built = usecases.build(here(), version)
    made, left_out, held = built.release, built.left_out, built.held
    if as_json:
        told = {
            "version": made.version,
            "digest": made.digest,
            "files": len(made.files),
            "left_out": left_out,
        }
        tell_json({**told, "same_as": built.same_as, "held": held.reason if held else None})
        return
    tell(f"{made.version}  {made.digest[:12]}  {len(made.files)} files")
    for why in dict.fromkeys(left_out.values()):
        paths = [path for path in left_out if left_out[path] == why]
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        tell(f"  left out ({why}): {', '.join(paths[:3])}{more}")
    if built.same_as:
        tell(f"  {made.version} is the same content as {', '.join(built.same_as)}: a hold on one holds all")
    if held:
        tell(f"  this content is held, by {held.by}: {held.reason}")


@app.command("list")
def list_releases(as_json: Json = False) -> None:
    """List the releases, and which are held.

    Example: [bold]cellwave release list[/]
    """
    store = here().store
    known = store.list()
    rows = [(item, store.held(item.digest)) for item in known]
    if as_json:
        tell_json(
            [
                {
                    "version": r.version,
                    "digest": r.digest,
                    "same_as": other_names(r, known),
                    "held": held.reason if held else None,
                }
                for r, held in rows
            ]
        )
        return
    shown = table("release", "digest", "same content as", "held")
    for item, held in rows:
        text = f"by {held.by}: {held.reason}" if held else ""
        row(shown, item.version, item.digest[:12], ", ".join(other_names(item, known)), text)
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
    if same := usecases.unhold(here(), wanted):
        tell(f"{', '.join(same)}: the same content, held no more either")
