"""Is every resource in its cell? What is not, no allowance covers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cellwave.fleet.model import Place
from cellwave.isolation.model import Finding
from cellwave.states import PROVIDER, UNKNOWN, State, name_of, nested

PACKAGES = ("aws", "aws-native")
ARN = re.compile(r"arn:[^:]*:[^:]*:(?P<region>[^:]*):(?P<account>[0-9]{12}|):")


def foreign(resources: Iterable[State], place: Place) -> Iterator[Finding]:
    """Every AWS resource that is not in the cell, or that nothing holds there.

    `resources` are states as the engine writes them, into a checkpoint or an event; those that are about to be deleted
    don't count. A resource is in the cell when its provider is configured for the cell's region and account, it names
    no other region itself, and its ARN (once it has one) says so too.
    """
    known = [r for r in resources if not r.get("delete")]
    providers = {r["urn"]: r for r in known if r["type"].startswith(PROVIDER)}
    for resource in known:
        if resource.get("custom") and resource["type"].split(":")[0] in PACKAGES:
            provider = providers.get(str(resource.get("provider", "")).rpartition("::")[0], {})
            if why := _why_foreign(resource, provider, place):
                yield Finding(
                    rule="place",
                    resource=name_of(resource["urn"]),
                    what=str((resource.get("outputs") or {}).get("arn") or ""),
                    found=why,
                    right=f"account {place.account} and {place.aws_region}, by a provider of the cell's",
                )


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
