"""The command line. Errors are caught once, here."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from traceback import walk_tb
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

import cellwave
from cellwave.cli.interrupted import interrupted
from cellwave.cli.show import fail, let_go, say, show_anything
from cellwave.errors import BadInput, CellwaveError, Detached
from cellwave.text import redact

# A command's module has its name, and the first line of its help. It is imported when it is asked for: what one of them
# needs (the database, AWS, the engine) takes others a second to import.
COMMANDS = {
    "plan": "Show which cells change in which wave, in what order, and why.",
    "cells": "List the cells, the release that each of their services runs, and where something else is there than "
    "should be.",
    "lease": "Say who is changing a cell, if anybody is: it is left alone until they are done.",
    "up": "Roll a release out to one whole cell, at your word, and follow it. Ctrl-C detaches; the rollout goes on.",
    "down": "Take a cell's stacks away, or one of them: the last of its services' needs first.",
    "logs": "Show all that the newest attempt at a stack left: what the engine and the program said.",
    "gc": "Remove what ended rollouts leave behind: folders of attempts with their logs, and rows of the database; and "
    "environments of programs that no deployment has used for 30 days.",
    "worker": "Run rollouts in the foreground. Commands start one in the background when none runs on any host.",
    "demo": "Six cells, a good release, a bad one that undoes itself, a fixed one; customers' events flow meanwhile.",
    "rollout": "Start, watch and steer rollouts.",
    "isolation": "Prove that nothing leaves its cell, or lets others in.",
    "fleet": "See what the whole fleet runs.",
    "release": "Build, list and verify releases.",
    "journal": "Read and prove the journal.",
    "config": "Put a cell's account, region and role into Pulumi's own settings.",
    "sandbox": "The emulated AWS on this machine: MiniStack, the edge, the provider.",
}


class Commands(TyperGroup):
    """All commands, each of which is loaded when a command line is resolved to it.

    Those of products, which bring them as entry points `cellwave.commands`, are looked for when no other has the name,
    and to list them.
    """

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        self.commands.update((name, TyperCommand(name, help=line)) for name, line in COMMANDS.items())

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """See click: what the first word names, and the words behind it."""
        name, stub, rest = super().resolve_command(ctx, args)
        return name, load(name) if name and stub else stub, rest

    def list_commands(self, ctx: Any) -> list[str]:
        """See click: what `--help` lists."""
        return [*super().list_commands(ctx), *(found.name for found in products())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """See click: a stub of the command of that name; None when there is none."""
        if command := super().get_command(ctx, cmd_name):
            return command
        if cmd_name in products().names:
            return TyperCommand(cmd_name, help=f"What the product {cmd_name} brings.")
        return None


def products() -> Any:
    """The entry points by which products bring commands of their own."""
    from importlib.metadata import entry_points

    return entry_points(group="cellwave.commands")


def load(name: str) -> Any:
    """The command of that name, with all that it needs."""
    one = typer.Typer(rich_markup_mode="rich")
    if name not in COMMANDS:
        one.add_typer(products()[name].load(), name=name)
        return get_group(one).commands[name]
    module = import_module(f"cellwave.cli.{name}")
    if group := getattr(module, "app", None):
        one.add_typer(group, name=name)
    else:
        one.command(name)(getattr(module, name))
    return get_group(one).commands[name]


app = typer.Typer(
    cls=Commands,
    help="Roll releases out over isolated AWS cells, wave by wave; a failing wave rolls itself back.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"cellwave {cellwave.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Roll releases out over isolated AWS cells, wave by wave; a failing wave rolls itself back.

    Exit codes: 0 done, 1 failed, 2 bad input, 3 rolled back, 4 waiting for a person, 130 detached by Ctrl-C
    (1 when nothing was started yet).
    """


def main() -> None:
    """Run the command line; every expected error becomes two readable lines and its exit code."""
    show_anything()
    # A large fleet is some hundred thousand objects and no garbage: looking for some took a third of a plan's time.
    gc.set_threshold(100_000, 20, 20)
    # Whatever the shell's mask is, its owner can use what is made.
    os.umask(os.umask(0o077) & 0o077)
    code = _run()
    let_go()
    sys.exit(code)


def _run() -> int:
    try:
        refuse_unreadable(sys.argv[1:], os.environ)
        code = app(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except Detached as left:
        say(f"\n{left.message}. {left.hint}")
        return left.exit_code
    except CellwaveError as error:
        return failed(error)
    except typer.TyperException as misuse:
        usage(misuse)
        return misuse.exit_code
    except KeyboardInterrupt:
        return interrupted(sys.argv[1:])
    except typer.Abort:
        say("nothing was done")
        return 1
    except BrokenPipeError:
        return 1
    except Exception as error:
        if (said := troubled(error)) is None:
            raise
        return said
    # What typer makes of Ctrl-C.
    return interrupted(sys.argv[1:]) if code == Detached.exit_code else code or 0


def failed(error: CellwaveError) -> int:
    """Say what went wrong; the exit code."""
    fail(
        error.message, error.hint and f"right would be: {error.hint}" if error.exit_code == 2 else error.hint
    )
    return error.exit_code


def not_loaded(error: Exception, path: str | None) -> BadInput | None:
    """What to say of an error of a module that was being imported, when a PYTHONPATH may have put it there."""
    importing = any(frame.f_code.co_name == "<module>" for frame, _ in walk_tb(error.__traceback__))
    if not path or not importing:
        return None
    found = f"with {path!r} cellwave can't be loaded: {error!r}"
    return BadInput("PYTHONPATH", found, "without modules of these names, or not set")


def troubled(error: Exception) -> int | None:
    """Say what this machine's trouble is: a full disk, a database that is gone, modules that are hidden; the exit code.
    None for a fault of cellwave's own."""
    if hidden := not_loaded(error, os.environ.get("PYTHONPATH")):
        return failed(hidden)
    from sqlalchemy.exc import SQLAlchemyError

    from cellwave.project import find_project
    from cellwave.rollout.database import unwritable

    if not isinstance(error, OSError | SQLAlchemyError):
        return None
    if refusal := unwritable(find_project().database_url, error):
        return failed(refusal)
    # Without the statement that was under way.
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES) and error.filename:
        return failed(BadInput(str(error.filename), str(error.strerror), "a place that you may write to"))
    fail(redact(f"{type(error).__name__}: {said}"), "")
    return 1


def usage(misuse: typer.TyperException) -> None:
    """Say what is wrong with a command line (nothing for one without arguments: its help was shown)."""
    context = getattr(misuse, "ctx", None)
    if message := misuse.format_message():
        fail(message, f"see `{context.command_path} --help`" if context else "")


def refuse_unreadable(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """BadInput when what is to be recorded, or leads to it, is no UTF-8: it could be neither kept nor shown.

    And when the working directory is gone, from which all else is found.
    """
    try:
        folder = os.getcwd()
    except OSError as error:
        raise BadInput("the working directory", f"{error.strerror}", "a folder that is there") from None
    named = {f"argument {place}": text for place, text in enumerate(arguments, 1)}
    named |= {k: v for k, v in environment.items() if k.startswith(("CELLWAVE_", "PULUMI_", "AWS_"))}
    for name, text in {**named, "the working directory": folder}.items():
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise BadInput(name, f"{os.fsencode(text)!r} is not UTF-8", "text in UTF-8")


if __name__ == "__main__":
    main()
