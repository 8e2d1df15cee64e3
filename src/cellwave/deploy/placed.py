"""Is every resource in its cell? Asked of a preview before anything is made, and of the state afterwards. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cellwave.deploy.events import name_of
from cellwave.fleet.model import Place

State = Mapping[str, Any]

PACKAGES = ("aws", "aws-native")
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"  # what a preview has in place of a text that it can't know
PROVIDER = "pulumi:providers:"
ARN = re.compile(r"arn:[^:]*:[^:]*:(?P<region>[^:]*):(?P<account>[0-9]{12}|):")


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


def foreign(resources: Iterable[State], place: Place) -> list[str]:
    """In words, every AWS resource that is not in the cell, or that nothing holds there.

    `resources` are states as the engine writes them, into a checkpoint or an event; those that are about to be deleted
    don't count. A resource is in the cell when its provider is configured for the cell's region and account, it names
    no other region itself, and its ARN (once it has one) says so too.
    """
    known = [r for r in resources if not r.get("delete")]
    providers = {r["urn"]: r for r in known if r["type"].startswith(PROVIDER)}
    found = []
    for resource in known:
        if resource.get("custom") and resource["type"].split(":")[0] in PACKAGES:
            provider = providers.get(str(resource.get("provider", "")).rpartition("::")[0], {})
            if why := _why_foreign(resource, provider, place):
                found.append(f"{name_of(resource['urn'])} {why}")
    return found


def _why_foreign(resource: State, provider: State, place: Place) -> str:
    given = provider.get("inputs") or {}
    through = f"its provider {name_of(provider['urn']).split()[-1]}" if provider else "its provider"
    outputs = resource.get("outputs") or {}
    own = (resource.get("inputs") or {}).get("region") or outputs.get("region") or UNKNOWN
    arn = ARN.match(str(outputs.get("arn", "")))
    if arn and (arn["account"] or place.account) != place.account:
        return f"is in account {arn['account']}, not in {place.account} of cell {place.cell}"
    if own not in (UNKNOWN, place.aws_region):
        return f"is in {own}, not in {place.aws_region} of cell {place.cell}"
    if arn and (arn["region"] or place.aws_region) != place.aws_region:
        return f"is in {arn['region']}, not in {place.aws_region} of cell {place.cell}"
    if (region := given.get("region")) != place.aws_region:
        where = "names none that is known beforehand" if region in (None, UNKNOWN) else f"is for {region}"
        return f"is not in {place.aws_region} of cell {place.cell}: {through} {where}"
    if not _held(given, place.account):
        return (
            f"may be outside of cell {place.cell}: nothing holds {through} to account {place.account} "
            "(allowedAccountIds, or a role of that account)"
        )
    return ""


def _held(provider: Mapping[str, Any], account: str) -> bool:
    """Whether a provider's inputs leave it no other account."""
    allowed = nested(provider.get("allowedAccountIds"))
    if allowed:
        return bool(allowed == [account])
    roles = nested(provider.get("assumeRoles")) or [nested(provider.get("assumeRole")) or {}]
    return str(roles[-1].get("roleArn") or "").split(":")[4:5] == [account]


def nested(value: Any) -> Any:
    """A provider's nested input, which the engine keeps as JSON text; None where it is none."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None
