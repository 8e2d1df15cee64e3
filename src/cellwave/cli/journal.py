"""`cellwave journal`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwave.cli.here import here
from cellwave.cli.show import say, tell, tell_json, when
from cellwave.errors import BadInput, CellwaveError
from cellwave.fleet.yamlfile import did_you_mean
from cellwave.rollout.identity import forget
from cellwave.rollout.journal import Entry, faults

app = typer.Typer(help="Read and prove the journal.", no_args_is_help=True, rich_markup_mode="rich")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(
    rollout: Annotated[str | None, typer.Argument(help="Only this rollout's lines.")] = None,
    as_json: Json = False,
) -> None:
    """Print what was decided and done, by whom.

    Example: [bold]cellwave journal show v2-1[/]
    """
    records = here().records
    entries = records.journal(rollout)
    if rollout is not None and not entries and records.rollout(rollout) is None:
        known = [row.id for row in records.rollouts()]
        raise BadInput(
            f"rollout {rollout!r}", "there is none of that name", did_you_mean(rollout, known, "rollouts")
        )
    for entry in entries:
        tell_json(entry.model_dump()) if as_json else tell(line(entry, dated=True))


@app.command()
def verify(as_json: Json = False) -> None:
    """Prove that no line was changed, removed or put in between, nor cut off of what this project has seen of it.

    Example: [bold]cellwave journal verify[/]
    """
    entries = here().records.journal()
    wrong = faults(entries)
    head = entries[-1].hash if entries else ""
    if as_json:
        tell_json({"entries": len(entries), "head": head, "faults": wrong})
    elif not wrong:
        tell(f"{len(entries)} entries, the chain is whole; its head is {head}")
    if wrong:
        raise CellwaveError("the journal was tampered with: " + "; ".join(wrong[:10]))


@app.command()
def accept(reason: Annotated[str, typer.Option("--reason", "-m", help="Why; kept in the journal.")]) -> None:
    """Take the database that is there for the right one, though this project has worked with another, or a newer copy.

    Nobody but you knows whether what it says of the stacks is still true: see `cellwave fleet status` afterwards.

    Example: [bold]cellwave journal accept -m "restored from last night's backup"[/]
    """
    around = here()
    forget(around.project.home)
    around.note("accepted", reason, "database")
    say("accepted; now see what it says against what is there: cellwave fleet status --probe")


def line(entry: Entry, *, dated: bool = False) -> str:
    """A journal entry as one line of text, in local time with its zone."""
    who = "" if entry.actor == "cellwave" else f" ({entry.actor})"
    about = " ".join(part for part in (entry.rollout, entry.subject) if part)
    what = f"{entry.kind.replace('_', ' ')}{who}{' - ' if entry.text else ''}{entry.text}"
    return f"{when(entry.at, dated=dated)}  {about}: {what}"
