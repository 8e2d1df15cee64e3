"""The configuration that puts a stack into its cell. Pure."""

from __future__ import annotations

from typing import Any

from cellwave.fleet.model import Place


def configuration(place: Place, stack: str) -> dict[str, Any]:
    """The stack configuration that puts the default providers of AWS into the cell, as Pulumi.<stack>.yaml has it."""
    role = {"roleArn": place.role, "sessionName": f"cellwave-{stack}"[:64]}
    common = {"region": place.aws_region, "allowedAccountIds": [place.account]}
    classic = common | ({"assumeRoles": [role]} if place.role else {})
    native = common | ({"assumeRole": role} if place.role else {})
    return {
        **{f"aws:{key}": value for key, value in classic.items()},
        **{f"aws-native:{key}": value for key, value in native.items()},
    }
