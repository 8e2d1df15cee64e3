"""Mend a stack whose last update was cut off: by a killed engine, or by a connection that was lost in the middle.

The engine records every operation before it begins it, and one whose answer never came it records as not done: `doubt`
puts that right. What was under way may have happened or not, so:
- a create is looked for; what may be there is put into the state under its id,
- an update's or delete's resource stays in the state, without the values that the update was changing,
- all of them are marked to be refreshed: the next update reads what is really there before anything else, and takes
  out what is not.
The state is changed in one import, so a repair that is itself cut off is made again or not at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cellwave.deploy.broken import Refused
from cellwave.deploy.checkpoint import Deployment, Exported, is_physical
from cellwave.deploy.command import Launch
from cellwave.deploy.finders import search, session_of
from cellwave.states import is_secret, name_of

State = dict[str, Any]
Step = tuple[str, State]  # an operation, and the state it leads to (from, for a delete), as events tell it
Find = Callable[[State], list[str]]

# A request that was under way when the engine died may take effect a moment later.
LOOKS = 3
PAUSE = 0.7  # seconds
MARK = "refreshBeforeUpdate"
# The id of what may have been made, until somebody has looked for it. It is marked to be deleted: nothing stands on it.
DOUBTED = "perhaps-made:cellwave-looks-for-it-at-the-next-deployment"
KINDS = {
    "create": "creating", "create-replacement": "creating", "update": "updating",
    "delete": "deleting", "delete-replaced": "deleting",
}  # fmt: skip


def mend(exported: Exported, launch: Launch, run: Callable[..., None], left: Iterable[Step] = ()) -> Exported:
    """What the stack holds, mended if its last update was cut off; `run` runs a command of the engine, and `left` are
    steps that may have been done and are not noted yet.

    Raises Refused.
    """
    deployment = doubting(exported.get("deployment") or {}, left)
    if not deployment.get("pending_operations") and not _doubted(deployment):
        return exported
    return _import(exported, mended(deployment, _finder(deployment, launch.environment)), launch, run)


def doubt(exported: Exported, steps: Iterable[Step], launch: Launch, run: Callable[..., None]) -> None:
    """Note in the stack's state that these steps of an update may have been done, though the engine has no answer."""
    deployment = exported.get("deployment") or {}
    if (noted := doubting(deployment, steps)) != deployment:
        _import(exported, noted, launch, run)


def doubting(deployment: Deployment, steps: Iterable[Step]) -> Deployment:
    """The deployment with what these steps may have done to be looked at again.

    Events tell no secrets: what is missing is read back, or set again.
    """
    new = deepcopy(deployment)
    resources: list[State] = new.setdefault("resources", [])
    for step, state in steps:
        kind = KINDS.get(step)
        if kind == "creating" and is_physical(state):
            inputs = {key: value for key, value in state.get("inputs", {}).items() if not is_secret(value)}
            resources.append({**state, "inputs": inputs, "outputs": {}, "id": DOUBTED, "delete": True})
        elif kind and is_physical(state):
            _look_again(resources, state, kind)
    return new


def _doubted(deployment: Deployment) -> list[State]:
    return [resource for resource in deployment.get("resources", ()) if resource.get("id") == DOUBTED]


def _import(exported: Exported, deployment: Deployment, launch: Launch, run: Callable[..., None]) -> Exported:
    whole = {**exported, "deployment": deployment}
    file = launch.attempt.work / "mended.json"
    file.write_text(json.dumps(whole))
    run("stack", "import", "--file", str(file))
    return whole


def mended(deployment: Deployment, find: Find) -> Deployment:
    """The deployment with nothing pending; `find` gives the ids under which a resource may have been created."""
    new = deepcopy(deployment)
    resources: list[State] = new.setdefault("resources", [])
    perhaps = [
        {"type": "creating", "resource": {k: v for k, v in r.items() if k != "delete"}} for r in _doubted(new)
    ]
    resources[:] = [resource for resource in resources if resource.get("id") != DOUBTED]
    for operation in [*new.pop("pending_operations", []), *perhaps]:
        resource, kind = operation["resource"], operation["type"]
        if not is_physical(resource):
            continue
        if kind == "creating":
            _adopt(resources, resource, find)
        elif kind in ("updating", "deleting"):
            _look_again(resources, resource, kind)
    return new


def _look_again(resources: list[State], resource: State, kind: str) -> None:
    for recorded in resources:
        if recorded["urn"] == resource["urn"]:
            _doubt(recorded, resource if kind == "updating" else recorded)


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
            by_hand = "run `pulumi refresh --stack …` by hand, which asks for its id"
            if resource.get("id") == DOUBTED:
                by_hand = (
                    "look for it, take it away if nobody uses it, "
                    f"then `pulumi state delete '{resource['urn']}' --stack …`"
                )
            raise Refused(
                f"an interrupted update may or may not have created {what}, and cellwave can't look for a {kind} "
                f"({error}): {by_hand}"
            ) from None
        except (BotoCoreError, ClientError) as error:
            raise Refused(
                f"looking for {what}, which an interrupted update may have created: {error}"
            ) from error
        return []

    return find
