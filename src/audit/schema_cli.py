"""`cellwave audit schema`: what the events of an application's actions must be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit import schemas
from audit.control import controlled, telling
from audit.handlers.common.events import AN_APPLICATION, is_application
from audit.handlers.common.http import parse_json
from audit.handlers.common.schemas import Schema, faults
from cellwave.cli.show import console, row, table, tell, tell_json, when
from cellwave.errors import BadInput

LONGEST_ACTION = 256  # characters, as of an event's name

app = typer.Typer(help="What the events of an application's actions must be.", no_args_is_help=True)
Application = Annotated[str, typer.Argument(metavar="APPLICATION")]
Action = Annotated[str, typer.Argument(metavar="ACTION", help="The event's name.")]


@app.command("set")
def register(
    application: Application,
    action: Action,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A JSON Schema of the whole event.")],
    replace: Annotated[bool, typer.Option(help="It has one, and this is the next version.")] = False,
) -> None:
    """Register a schema, and print its version. It is in force for events that come two minutes later.

    Example: [bold]cellwave audit schema set acme user.created user-created.json[/]
    """
    _refuse_no_application(application)
    if not 1 <= len(action) <= LONGEST_ACTION:
        raise BadInput("ACTION", f"found {len(action)} characters", f"1 to {LONGEST_ACTION}")
    schema = _schema_in(file)
    with controlled(), telling():
        version = schemas.register(application, action, schema, replace)
    tell_json({"applicationId": application, "eventName": action, "version": version})


@app.command("list")
def list_schemas(
    application: Application, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List all versions of an application's schemas: the newest of each action is in force.

    Example: [bold]cellwave audit schema list acme[/]
    """
    _refuse_no_application(application)
    with controlled():
        found, strict = schemas.versions(application), schemas.is_strict(application)
    if as_json:
        tell_json({"strict": strict, "schemas": [one.item for one in found]})
        return
    shown = table("action", "version", "registered")
    for one in found:
        row(shown, one.action, str(one.version), when(one.created))
    console().print(shown)
    others = "are refused" if strict else "are taken as they come"
    tell(f"Events of other actions {others}.")


@app.command()
def show(
    application: Application,
    action: Action,
    version: Annotated[int | None, typer.Option(min=1, help="Which (default: the newest).")] = None,
) -> None:
    """Print a schema.

    Example: [bold]cellwave audit schema show acme user.created --version 1[/]
    """
    _refuse_no_application(application)
    with controlled():
        found = {one.version: one for one in schemas.versions(application) if one.action == action}
    wanted = max(found, default=0) if version is None else version
    if wanted not in found:
        there = ", ".join(map(str, found)) or "none"
        raise BadInput("ACTION", f"{action!r} has no such schema", f"a version that there is: {there}")
    tell_json(found[wanted].schema)


@app.command()
def strict(
    application: Application,
    on: Annotated[bool, typer.Option("--on/--off", help="Whether events of other actions are refused.")],
) -> None:
    """Refuse, or take, an application's events of actions without a schema.

    Example: [bold]cellwave audit schema strict acme --on[/]
    """
    _refuse_no_application(application)
    with controlled(), telling():
        schemas.set_strict(application, on)


def _refuse_no_application(text: str) -> None:
    if not is_application(text):
        raise BadInput("APPLICATION", f"found {text!r}", AN_APPLICATION)


def _schema_in(file: Path) -> Schema:
    try:
        found: Schema = parse_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput("FILE", f"{file} can't be read as JSON: {error}", "a JSON Schema") from None
    wrong = next(faults(found), None)
    if wrong:
        raise BadInput(f"{file}: {wrong.field}", f"found {wrong.found}", wrong.expected)
    return found
