"""Every resource type keeps the same contract, before a real emulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from cellwave.deploy.finders import NAMED
from cellwave.sandbox.provider.kinds import TYPES
from cellwave.sandbox.provider.values import UNKNOWN
from tests.provider.cases import CASES
from tests.provider.engine import Engine, Refused

EVERY_TYPE = pytest.mark.parametrize("token", sorted(TYPES))


def test_every_type_is_put_to_the_test() -> None:
    """A resource type without a case is not known to work."""
    assert CASES.keys() == TYPES.keys()


@EVERY_TYPE
def test_a_resource_lives_from_create_to_delete(token: str, engine: Engine, tmp_path: Path) -> None:
    """Created under the id that it is looked for, read back the same, nothing to change; imported; updated; gone."""
    case, kind = CASES[token](engine, tmp_path), TYPES[token]
    made = engine.make(token, **case.inputs)

    for prop, value in case.inputs.items():
        assert made.state[prop] == value
    if token in NAMED:  # where the deployer looks for what an interrupted update may have made
        assert made.ref == NAMED[token](case.inputs)
    assert engine.read(made) == made
    assert engine.diff(made, case.inputs).paths == {}

    taken_in = engine.take_in(token, f"{case.scope}/{made.ref}" if kind.scope else made.ref)
    assert taken_in is not None
    assert taken_in.ref == made.ref
    never_read = kind.carried | kind.witness.keys()
    assert {path for path in engine.diff(taken_in, case.inputs).paths if path not in never_read} == set()

    if case.updated is not None:
        assert engine.diff(made, case.updated).replaces == []
        made = engine.update(made, case.updated)
        for prop, value in case.updated.items():
            assert made.state[prop] == value
        for prop in case.inputs.keys() - case.updated.keys() - kind.may_be_left_out:
            assert made.state.get(prop) in (None, "", [], {}, False, kind.defaults.get(prop))
        assert engine.read(made) == made
        assert engine.diff(made, case.updated).paths == {}

    engine.delete(made)
    if not case.lasts:
        assert engine.read(made) is None
        assert engine.take_in(token, f"{case.scope}/{made.ref}" if kind.scope else made.ref) is None
    engine.delete(made)


@EVERY_TYPE
def test_what_is_there_is_not_taken_over(token: str, engine: Engine, tmp_path: Path) -> None:
    """A second create of the same thing fails, where the thing has an identity that AWS didn't make up."""
    kind = TYPES[token]
    if not kind.told_apart_by and kind.upsert is None:
        pytest.skip("AWS makes up its identity, or it is a setting of something else")
    case = CASES[token](engine, tmp_path)
    engine.make(token, **case.inputs)
    with pytest.raises(grpc.RpcError) as refused:
        engine.make(token, **case.inputs)
    assert "creating" in str(refused.value)


@EVERY_TYPE
def test_a_change_of_what_can_not_change_replaces(token: str, engine: Engine, tmp_path: Path) -> None:
    """The engine is told which change needs a new resource, and to delete first where both would be one."""
    case, kind = CASES[token](engine, tmp_path), TYPES[token]
    made = engine.make(token, **case.inputs)
    assert case.replacing is not None
    prop, value = case.replacing
    found = engine.diff(made, {**case.inputs, prop: value})
    assert found.replaces == [prop]
    assert {kind.endswith("_REPLACE") for kind in found.paths.values()} == {True}
    assert found.delete_first == (bool(kind.told_apart_by) and prop not in kind.told_apart_by)


@EVERY_TYPE
def test_an_unknown_input_is_refused(token: str, engine: Engine, tmp_path: Path) -> None:
    """A misspelt input is named, not dropped."""
    case = CASES[token](engine, tmp_path)
    with pytest.raises(Refused) as refused:
        engine.check(token, {**case.inputs, "nosuchInput": 1})
    assert refused.value.failures == {"nosuchInput": "unknown input"}


@EVERY_TYPE
def test_a_preview_knows_inputs_and_not_outputs(token: str, engine: Engine, tmp_path: Path) -> None:
    """Before a resource is there, what AWS will compute is unknown, and an unknown input is no mistake."""
    case = CASES[token](engine, tmp_path)
    first = next(iter(case.inputs))
    inputs = engine.check(token, {**case.inputs, first: UNKNOWN})
    seen = engine.preview(token, **inputs)
    assert seen[first] == UNKNOWN
    assert {seen[output] for output in TYPES[token].computed} <= {UNKNOWN}


def test_a_preview_of_an_update_knows_what_stays(engine: Engine, tmp_path: Path) -> None:
    """New code makes a new version, so version and qualified ARN are unknown before it; name and ARN are not."""
    token = "aws:lambda/function:Function"
    case = CASES[token](engine, tmp_path)
    made = engine.make(token, **case.inputs)
    assert case.updated is not None
    seen = engine.update(made, {**case.updated, "tags": UNKNOWN}, preview=True).state
    unknown = {key for key, value in seen.items() if value == UNKNOWN}
    anew = {"version", "qualifiedArn", "qualifiedInvokeArn", "lastModified", "codeSha256", "sourceCodeSize"}
    assert unknown == anew | {"tags", "tagsAll"}
    assert seen["arn"] == made.state["arn"]
    assert "environment" not in seen

    only_tags = engine.update(made, {**case.inputs, "tags": {"a": "b"}}, preview=True).state
    assert UNKNOWN not in only_tags.values()
    assert only_tags["tagsAll"] == {"a": "b"}


def test_the_facts_agree_with_pulumi_aws() -> None:
    """Every name in the table is an input or an output of that type in pulumi_aws."""
    from cellwave.sandbox.provider.schema import arguments

    for kind in TYPES.values():
        inputs = arguments(kind.args).types.keys()
        for names in (
            kind.known,
            kind.carried,
            kind.may_be_left_out,
            kind.replacing - {"region"},
            kind.told_apart_by,
        ):
            assert names <= inputs, kind.token
        assert kind.computed <= kind.types.keys(), kind.token
        assert kind.defaults.keys() | kind.witness.keys() <= kind.known, kind.token


def test_connections_keep_their_own_account_and_region(connect: Callable[..., Engine]) -> None:
    """Engines side by side, and providers side by side in one engine, never see each other's configuration."""
    one = connect("us-west-2", "300000000002")
    two = connect("ap-south-1", "300000000003", defaultTags={"tags": {"cell": "two"}})
    queues = [engine.make("aws:sqs/queue:Queue", name="side-by-side") for engine in (one, two)]
    assert [made.state["arn"] for made in queues] == [
        "arn:aws:sqs:us-west-2:300000000002:side-by-side",
        "arn:aws:sqs:ap-south-1:300000000003:side-by-side",
    ]
    assert [made.state.get("tagsAll", {}) for made in queues] == [{}, {"cell": "two"}]
    for engine, made in zip((one, two), queues, strict=True):
        assert engine.read(made) == made
