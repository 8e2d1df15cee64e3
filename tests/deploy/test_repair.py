"""How a deployment with pending operations is mended, by example."""

from __future__ import annotations

from typing import Any

import pytest

from cellwave.deploy.broken import Refused
from cellwave.deploy.repair import DOUBTED, doubting, mended

QUEUE = "urn:pulumi:a.b::shop::aws:sqs/queue:Queue::queue"


def resource(urn: str = QUEUE, **more: Any) -> dict[str, Any]:
    """A resource as the engine records it."""
    return {"urn": urn, "custom": True, "type": urn.split("::")[2], **more}


def pending(kind: str, **more: Any) -> dict[str, Any]:
    """A pending operation on the queue."""
    return {"type": kind, "resource": resource(**more)}


def nowhere(_resource: dict[str, Any]) -> list[str]:
    """A finder that finds nothing."""
    return []


def test_a_create_that_happened_is_adopted() -> None:
    """It is put into the state under its id, with its inputs, to be refreshed before the next update."""
    deployment = {"pending_operations": [pending("creating", inputs={"name": "q", "__defaults": []})]}
    new = mended(deployment, lambda _: ["id-1"])
    assert "pending_operations" not in new
    (adopted,) = new["resources"]
    assert (adopted["id"], adopted["outputs"], adopted["refreshBeforeUpdate"]) == (
        "id-1",
        {"name": "q", "id": "id-1"},
        True,
    )


def test_a_create_that_did_not_happen_is_forgotten() -> None:
    """What is not there is made by the next update."""
    new = mended({"resources": [], "pending_operations": [pending("creating")]}, nowhere)
    assert new == {"resources": []}


def test_what_the_state_holds_is_not_adopted_twice() -> None:
    """Where two resources share a name, the one that is recorded already is not taken for the other."""
    known = resource(urn=f"{QUEUE}-other", id="id-1")
    new = mended({"resources": [known], "pending_operations": [pending("creating")]}, lambda _: ["id-1"])
    assert new["resources"] == [known]


def test_several_candidates_are_a_person_s_matter() -> None:
    """Adopting the wrong one would orphan the other."""
    with pytest.raises(Refused, match="any of one, two"):
        mended({"pending_operations": [pending("creating")]}, lambda _: ["one", "two"])


def test_a_replacement_takes_the_old_one_s_place() -> None:
    """The replaced resource is marked for the engine to delete; one deleted beforehand leaves the state."""
    operation = pending("creating")
    beside = mended({"resources": [resource(id="old")], "pending_operations": [operation]}, lambda _: ["new"])
    assert [(r["id"], r.get("delete")) for r in beside["resources"]] == [("old", True), ("new", None)]
    gone = resource(id="old", pendingReplacement=True)
    after = mended({"resources": [gone], "pending_operations": [operation]}, lambda _: ["old"])
    assert [r["id"] for r in after["resources"]] == ["old"]
    assert "pendingReplacement" not in after["resources"][0]


def test_an_adopted_resource_comes_before_those_that_need_it() -> None:
    """The engine refuses a state in which a resource depends on a later one."""
    user = resource(
        urn="urn:pulumi:a.b::shop::aws:sqs/queuePolicy:QueuePolicy::p", id="p", dependencies=[QUEUE]
    )
    new = mended({"resources": [user], "pending_operations": [pending("creating")]}, lambda _: ["q"])
    assert [r["id"] for r in new["resources"]] == ["q", "p"]


def test_an_update_s_values_are_doubted() -> None:
    """The values that were being changed are forgotten, so that any goal differs from them; others stay."""
    recorded = resource(id="q", inputs={"code": "old", "name": "q"}, outputs={"code": "old", "arn": "a"})
    operation = pending("updating", inputs={"code": "new", "name": "q"})
    new = mended({"resources": [recorded], "pending_operations": [operation]}, nowhere)
    (left,) = new["resources"]
    assert (left["inputs"], left["outputs"]) == ({"name": "q"}, {"arn": "a"})
    assert left["refreshBeforeUpdate"]


def test_a_delete_is_looked_at_again() -> None:
    """A resource that was being deleted stays recorded as it was, to be refreshed."""
    recorded = resource(id="q", inputs={"name": "q"})
    new = mended({"resources": [recorded], "pending_operations": [pending("deleting")]}, nowhere)
    assert new["resources"] == [{**recorded, "refreshBeforeUpdate": True}]


def test_components_and_providers_are_made_anew() -> None:
    """They are nothing in the cloud: nobody looks for them."""

    def never(_resource: dict[str, Any]) -> list[str]:
        raise AssertionError

    component = {"type": "creating", "resource": {"urn": "u", "custom": False, "type": "my:own:Thing"}}
    provider = {"type": "creating", "resource": {"urn": "p", "custom": True, "type": "pulumi:providers:aws"}}
    assert mended({"pending_operations": [component, provider]}, never) == {"resources": []}


def test_the_given_deployment_is_left_alone() -> None:
    """Mending makes a new deployment."""
    recorded = resource(id="q", inputs={"code": "old"})
    deployment = {
        "resources": [recorded],
        "pending_operations": [pending("updating", inputs={"code": "new"})],
    }
    mended(deployment, nowhere)
    assert recorded["inputs"] == {"code": "old"}
    assert deployment["pending_operations"]


def test_a_create_without_an_answer_is_looked_for_at_the_next_deployment() -> None:
    """The state says that it may be there, in a form that the engine keeps; no secret of an event goes along."""
    masked = {"4dabf18193072939515e22adb298388d": "1b47", "ciphertext": "[secret]"}
    step = ("create", resource(inputs={"name": "q", "password": masked}))
    noted = doubting({"resources": [resource(urn=f"{QUEUE}-other", id="o")]}, [step])
    perhaps = noted["resources"][-1]
    assert (perhaps["id"], perhaps["delete"], perhaps["inputs"]) == (DOUBTED, True, {"name": "q"})
    (_, adopted) = mended(noted, lambda _: ["q"])["resources"]
    assert (adopted["id"], adopted["inputs"], adopted["refreshBeforeUpdate"]) == ("q", {"name": "q"}, True)
    assert "delete" not in adopted
    assert [r["id"] for r in mended(noted, nowhere)["resources"]] == ["o"]


@pytest.mark.parametrize(("step", "inputs"), [("update", {}), ("delete", {"code": "old"})])
def test_a_change_without_an_answer_is_doubted_at_once(step: str, inputs: dict[str, str]) -> None:
    """What an update may have set is forgotten, and what a delete may have taken away is looked at again."""
    recorded = resource(id="q", inputs={"code": "old"})
    (left,) = doubting({"resources": [recorded]}, [(step, resource(id="q", inputs={"code": "new"}))])[
        "resources"
    ]
    assert (left["inputs"], left["refreshBeforeUpdate"]) == (inputs, True)


def test_reading_without_an_answer_leaves_no_doubt() -> None:
    """Nothing can have been made by it, nor by a step of a component."""
    deployment = {"resources": [resource(id="q")]}
    component = {"urn": "u", "custom": False, "type": "my:own:Thing"}
    assert (
        doubting(deployment, [("read", resource()), ("refresh", resource()), ("create", component)])
        == deployment
    )
