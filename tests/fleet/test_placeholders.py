"""What a text of a signal or proof may ask for is checked when it is written, not when a wave bakes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.fleet.files import changed, refused

from cellwave.fleet.parse import parse_fleet


@pytest.mark.parametrize(
    ("files", "where", "found", "expected"),
    [
        pytest.param(
            changed("fleet", "{cell}-", "{cel}-"),
            "cells/fleet.yaml:13",
            "unknown placeholder {cel} in '{cel}-{outputs[api]}'",
            "did you mean 'cell'?",
            id="unknown placeholder",
        ),
        pytest.param(
            changed("fleet", "{outputs[url]}/", "{outputs}/"),
            "cells/fleet.yaml:20",
            "{outputs}",
            "outputs[",
            id="bare",
        ),
        pytest.param(
            changed("fleet", "{outputs[url]}/", "{url"),
            "cells/fleet.yaml:20",
            "'{url",
            "pairs of braces",
            id="brace",
        ),
        pytest.param(
            changed("fleet", "::{account}:", "::{cell}:"),
            "cells/fleet.yaml:1",
            "unknown placeholder {cell}",
            "account",
            id="placeholder of the role",
        ),
        *(
            pytest.param(
                changed("fleet", "{cell}-", f"{wrong}-"), "cells/fleet.yaml:13", wrong, "cell", id=wrong
            )
            for wrong in ("{cell.name}", "{cell!r}", "{cell:>9}", "{}", "{outputs[api]x}", "{outputs[]}")
        ),
        pytest.param(
            changed("fleet", "::{account}:", "::{account.real}:"),
            "cells/fleet.yaml:1",
            "{account.real}",
            "account",
            id="attribute in the role",
        ),
        pytest.param(
            changed("fleet", "keys: {program: .}", 'keys: {program: ., proof: {parameter: "/{region}"}}'),
            "cells/fleet.yaml:5",
            "unknown placeholder {region}",
            "aws_region",
            id="the control plane is in no region",
        ),
    ],
)
def test_a_placeholder_that_nothing_fills_is_named(
    files: Mapping[str, str], where: str, found: str, expected: str
) -> None:
    """Where it is written, what was found, what would be right."""
    error = refused(files)
    assert error.where == where
    assert found in error.found
    assert expected in error.expected


def test_every_placeholder_may_be_asked_for() -> None:
    """Of a cell's service: its own names, its region's, and its stack's outputs. Doubled braces are no placeholder."""
    text = "{cell}{service}{account}{aws_region}{region}{outputs[a.b-c]}{{x}}"
    parse_fleet(changed("fleet", "{cell}-", text))
