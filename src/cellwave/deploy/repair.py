"""Mend a stack whose last update was cut off by a killed engine.

The engine records every operation before it begins it. What was under way may have happened or not, so:
- a create is looked for; what may be there is put into the state under its id,
- an update's or delete's resource stays in the state, without the values that the update was changing,
- all of them are marked to be refreshed: the next update reads what is really there before anything else, and takes
  out what is not.
The state is changed in one import, so a repair that is itself cut off is made again or not at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cellwave.deploy.checkpoint import Deployment, Exported, is_physical
from cellwave.deploy.command import Launch
from cellwave.deploy.events import name_of
from cellwave.deploy.finders import search, session_of

State = dict[str, Any]
Find = Callable[[State], list[str]]

# A request that was under way when the engine died may take effect a moment later.
LOOKS = 3
PAUSE = 0.7  # seconds
MARK = "refreshBeforeUpdate"


class Refused(Exception):
    """The stack can't be mended without a person; the text says what to do."""


def mend(exported: Exported, launch: Launch, run: Callable[..., None]) -> Exported:
    """What the stack holds, mended if its last update was cut off; `run` runs a command of the engine.

    Raises Refused.
    """
    deployment = exported.get("deployment") or {}
    if not deployment.get("pending_operations"):
        return exported
    whole = {**exported, "deployment": mended(deployment, _finder(deployment, launch.environment))}
    file = launch.attempt.work / "mended.json"
    file.write_text(json.dumps(whole))
    run("stack", "import", "--file", str(file))
    return whole


def mended(deployment: Deployment, find: Find) -> Deployment:
    """The deployment with nothing pending; `find` gives the ids under which a resource may have been created."""
    new = deepcopy(deployment)
    resources: list[State] = new.setdefault("resources", [])
    for operation in new.pop("pending_operations", []):
        resource, kind = operation["resource"], operation["type"]
        if not is_physical(resource):
            continue
        if kind == "creating":
            _adopt(resources, resource, find)
        elif kind in ("updating", "deleting"):
            for recorded in resources:
                if recorded["urn"] == resource["urn"]:
                    _doubt(recorded, resource if kind == "updating" else recorded)
    return new


def _adopt(resources: list[State], resource: State, find: Find) -> None:
    """Put a resource that may have been created into the state."""
    known = {
        r.get("id") for r in resources if r["type"] == resource["type"] and not r.get("pendingReplacement")
    }
    found = [identity for identity in find(resource) if identity not in known]
    if not found:
        return
    if len(found) > 1:
        raise Refused(
            f"an interrupted update may have made any of {', '.join(found)} as {name_of(resource['urn'])}: "
            "delete those that nobody uses, then try again"
        )
    # What is replaced by it goes: the engine removed it already, or will once it is marked.
    resources[:] = [r for r in resources if not (r["urn"] == resource["urn"] and r.get("pendingReplacement"))]
    for replaced in resources:
        if replaced["urn"] == resource["urn"]:
            replaced["delete"] = True
    inputs = resource.get("inputs", {})
    outputs = {key: value for key, value in inputs.items() if key != "__defaults"}
    # The update that was cut off made it, moments ago: whoever goes back from that update may delete it again.
    created = datetime.now(UTC).isoformat()
    adopted = {
        "created": created,
        **resource,
        "id": found[0],
        "outputs": {**outputs, "id": found[0]},
        MARK: True,
    }
    resources.insert(_place_of(resource["urn"], resources), adopted)


def _place_of(urn: str, resources: list[State]) -> int:
    """Where a resource goes: the engine wants it before all that need it."""
    for place, other in enumerate(resources):
        if urn == other.get("parent") or urn in other.get("dependencies", ()):
            return place
    return len(resources)


def _doubt(recorded: State, intended: State) -> None:
    """Forget the values that were being changed: what the refresh can't read must differ from any goal."""
    before, after = recorded.get("inputs", {}), intended.get("inputs", {})
    for key in before.keys() & after.keys():
        if before[key] != after[key]:
            del before[key]
            recorded.get("outputs", {}).pop(key, None)
    recorded[MARK] = True


def _finder(deployment: Deployment, environment: Mapping[str, str]) -> Find:
    """Look into the account and region of the resource's own provider."""
    providers = {f"{r['urn']}::{r.get('id')}": r.get("inputs", {}) for r in deployment.get("resources", [])}

    def find(resource: State) -> list[str]:
        kind, what = resource["type"], name_of(resource["urn"])
        try:
            session = session_of(providers.get(resource.get("provider", ""), {}), environment)
            for look in range(LOOKS):
                time.sleep(PAUSE if look else 0)
                if found := search(kind, session, resource.get("inputs", {})):
                    return found
        except KeyError as error:
            raise Refused(
                f"an interrupted update may or may not have created {what}, and cellwave can't look for a {kind} "
                f"({error}): run `pulumi refresh --stack …` by hand, which asks for its id"
            ) from None
        except (BotoCoreError, ClientError) as error:
            raise Refused(
                f"looking for {what}, which an interrupted update may have created: {error}"
            ) from error
        return []

    return find
