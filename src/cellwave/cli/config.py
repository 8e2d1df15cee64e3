"""`cellwave config`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from cellwave.cli.here import here
from cellwave.cli.show import tell, tell_json
from cellwave.deploy.placed import configuration
from cellwave.errors import BadInput
from cellwave.fleet.model import Fleet
from cellwave.fleet.select import stacks_named
from cellwave.fleet.yamlfile import read
from cellwave.programs.settings import settings_file

app = typer.Typer(
    help="Put a cell's account, region and role into Pulumi's own settings.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command()
def write(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[CELL[.SERVICE]]...", help="Default: every stack.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write each stack's account, region and role into its Pulumi.<stack>.yaml, for a literal `pulumi up`.

    What else a file says stays as it is. A deployment by cellwave needs no such file.

    Example: [bold]cellwave config write us-west-2[/]   and then   [bold]pulumi up --stack us-west-2.jobs[/]
    """
    around = here()
    project, (fleet, _) = around.project, around.configuration()
    files = {stack: _file(project.root, fleet, stack) for stack in stacks_named(fleet, names or fleet.stacks)}
    texts = {stack: _text(project.root, fleet, stack, file) for stack, file in files.items()}
    done = []
    for stack, (old, new) in texts.items():
        file, changed = files[stack], old != new
        if changed:
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_name(f".{file.name}.new")
            partial.write_text(new)
            partial.replace(file)
        name = str(file.relative_to(project.root))
        done.append({"stack": stack, "file": name, "changed": changed})
    if as_json:
        tell_json(done)
        return
    for line in done:
        tell(f"{'written' if line['changed'] else 'unchanged':<10}{line['file']}")


def _file(root: Path, fleet: Fleet, stack: str) -> Path:
    cell, service = stack.split(".")
    folder = root / fleet.service(cell, service).program
    try:
        return settings_file(folder, stack).resolve()
    except ValueError as error:
        raise BadInput(f"service {service}", str(error), "a folder with a Pulumi.yaml") from None


def _text(root: Path, fleet: Fleet, stack: str, file: Path) -> tuple[str, str]:
    """What the file says, and what it is to say: comments, order and other settings are kept. BadInput by line."""
    old = file.read_text("utf-8") if file.exists() else ""
    document = read(old if old.strip() else "{}", str(file.relative_to(root)))
    yaml = YAML()
    yaml.preserve_quotes = True
    settings: Any = yaml.load(old) or {}
    config = settings.setdefault("config", {})
    if not isinstance(config, dict):
        raise document.bad(("config",), f"config is {config!r}", "a mapping (key: value)")
    place = fleet.place(stack.partition(".")[0])
    stale = {"aws:assumeRoles", "aws-native:assumeRole"} if place.role is None else set()
    given = configuration(place, stack)
    if {key: config.get(key) for key in given} == given and not stale & config.keys():
        return old, old
    for key in stale & config.keys():
        del config[key]
    config.update(given)
    if file.suffix == ".json":
        return old, json.dumps(settings, indent=4, ensure_ascii=False) + "\n"
    buffer = io.StringIO()
    yaml.dump(settings, buffer)
    return old, buffer.getvalue()
