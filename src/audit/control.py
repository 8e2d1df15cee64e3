"""How a command works in the control plane: what keeps it from that is said, and the cells are told of what it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from audit.publish import publish
from cellwave.cli.show import say
from cellwave.errors import CellwaveError


@contextmanager
def telling() -> Iterator[None]:
    """Tell the cells of what was done, also when a later part of it failed."""
    try:
        yield
    finally:
        try:
            publish()
        except (BotoCoreError, ClientError):
            say("not every cell is told of it yet: when this is mended, `cellwave audit publish`")
            raise


@contextmanager
def controlled() -> Iterator[None]:
    """Say in words what keeps the control plane from being used."""
    try:
        yield
    except BrokenPipeError:
        raise CellwaveError("nobody reads the output; a key that was not shown is of no use") from None
    except (BotoCoreError, ClientError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
        if code in ("ResourceNotFoundException", "ParameterNotFound"):
            raise CellwaveError(
                "this account and region have no control plane that keys could be made in",
                hint="deploy control.control first, and call this with credentials and AWS_REGION of the control cell",
            ) from None
        raise CellwaveError(f"the control plane's tables can't be used: {error}") from None
