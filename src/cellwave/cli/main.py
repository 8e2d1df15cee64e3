"""The command line. Errors are caught once, here."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from cellwave import __version__
from cellwave.cli import (
    cells,
    config,
    demo,
    down,
    fleet,
    gc,
    journal,
    lease,
    logs,
    plan,
    release,
    rollout,
    up,
    worker,
)
from cellwave.cli.interrupted import interrupted
from cellwave.cli.sandbox import app as sandbox
from cellwave.cli.show import fail, let_go, say, show_anything
from cellwave.errors import BadInput, CellwaveError, Detached
from cellwave.project import find_project
from cellwave.rollout.database import unwritable
from cellwave.text import redact

app = typer.Typer(
    help="Roll releases out over isolated AWS cells, wave by wave; a failing wave rolls itself back.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(rollout.app, name="rollout")
app.add_typer(fleet.app, name="fleet")
app.add_typer(release.app, name="release")
app.add_typer(journal.app, name="journal")
app.add_typer(config.app, name="config")
app.add_typer(sandbox, name="sandbox")
app.command("plan")(plan.plan)
app.command("cells")(cells.cells)
app.command("lease")(lease.lease)
app.command("up")(up.up)
app.command("down")(down.down)
app.command("logs")(logs.logs)
app.command("gc")(gc.gc)
app.command("worker")(worker.worker)
app.command("demo")(demo.demo)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"cellwave {__version__}")
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
    except (OSError, SQLAlchemyError) as error:
        if refusal := unwritable(find_project().database_url, error):
            return failed(refusal)
        # This machine's troubles: a full disk, a database that is gone; without the statement that was under way.
        said = " ".join(str(getattr(error, "orig", None) or error).split())
        fail(redact(f"{type(error).__name__}: {said}"), "")
        return 1
    # What typer makes of Ctrl-C.
    return interrupted(sys.argv[1:]) if code == Detached.exit_code else code or 0


def failed(error: CellwaveError) -> int:
    """Say what went wrong; the exit code."""
    fail(
        error.message, error.hint and f"right would be: {error.hint}" if error.exit_code == 2 else error.hint
    )
    return error.exit_code


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
