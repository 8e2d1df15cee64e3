"""What nobody may do to a cell's archive: its policy, as the emulator's own reader of policies understands it.

The sandbox does not enforce policies (README): that AWS does what its words say is AWS's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pulumi
import pytest
from botocore.exceptions import ClientError
from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy  # type: ignore[import-untyped]

from audit.glass import break_glass
from audit.stacks.archive import GOVERNS, TAKES, policy
from cellwave.cell import CellContext
from cellwave.errors import BadInput, CellwaveError
from cellwave.fleet.model import Fleet
from cellwave.fleet.parse import parse_fleet
from cellwave.project import find_project
from tests.audit.support import AuditCell
from tests.audit.test_internal import Here
from tests.audit.test_waiting import tick

FLEET = parse_fleet(find_project(Path(__file__).parent).config_files())
CELL = FLEET.cell("us-west-2")
BUCKET = f"arn:aws:s3:::{CELL.name}-{CELL.account}-archive"
OBJECT = f"{BUCKET}/acme/t1/2025/03/01/a.jsonl"
DEPLOYER, LAST = "cellwave-deploy", "last-resort"
OTHERS = (f"{CELL.name}-ingest-processor-us-west-2", f"{CELL.name}-query-api-us-west-2", "somebody")


def context(fleet: Fleet = FLEET, **labels: str) -> CellContext:
    """The storage of a cell with these labels."""
    cell = CELL.model_copy(update={"labels": labels})
    return CellContext(fleet, cell, fleet.service(CELL.name, "storage"), Path(), "worktree")


def denied(role: str, action: str, about: dict[str, Any], of: CellContext) -> bool:
    """Whether the policy refuses that to a session of that role of the cell's account."""
    arn = f"arn:aws:iam::{CELL.account}:role/{role}"
    asked = EvalContext(
        # As aws:PrincipalArn is of a session: the role. The reader takes it for that key.
        principal_arn=arn,
        principal_type="AssumedRole",
        principal_account=CELL.account,
        action=action,
        resource_arn=BUCKET if action in GOVERNS else OBJECT,
        region=CELL.aws_region,
        service_context=about,
    )
    return bool(evaluate_resource_policy(policy(of), asked).decision == "Deny")


NEW, OVER = {"s3:if-none-match": "*"}, dict[str, str]()
LIFTED, PUT = {"s3:object-lock-legal-hold": "OFF"}, {"s3:object-lock-legal-hold": "ON"}
ROWS: list[tuple[str, dict[str, str], bool, bool]] = [
    # action, what S3 knows of the request; whether the deployer may, and any other
    *((action, {}, False, False) for action in TAKES),
    ("s3:PutObject", OVER, False, False),
    ("s3:PutObject", NEW, True, True),
    ("s3:PutObjectLegalHold", LIFTED, True, False),
    ("s3:PutObjectLegalHold", PUT, True, True),
    *((action, {}, True, False) for action in GOVERNS),
    ("s3:PutObjectRetention", {}, True, True),
    ("s3:GetObject", {}, True, True),
]


@pytest.mark.parametrize(
    ("action", "about", "deployer", "others"), ROWS, ids=[f"{row[0]} {row[1] or ''}" for row in ROWS]
)
@pytest.mark.parametrize("labels", [{}, {"break_glass": LAST}], ids=["no last resort", "last resort"])
def test_who_may_what(
    action: str, about: dict[str, str], deployer: bool, others: bool, labels: dict[str, str]
) -> None:
    """Nobody takes from the archive, the deployer governs it, and the role of last resort may all where it is named."""
    of = context(FLEET, **labels)
    assert denied(DEPLOYER, action, about, of) == (not deployer)
    for role in OTHERS:
        assert denied(role, action, about, of) == (not others)
    assert denied(LAST, action, about, of) == (not (others or labels))


def test_a_role_of_the_same_name_elsewhere_is_not_the_last_resort() -> None:
    """It is one of the cell's own account."""
    (takes, *_) = policy(context(break_glass=LAST))["Statement"]
    assert takes["Condition"]["ArnNotLike"] == {
        "aws:PrincipalArn": [f"arn:aws:iam::{CELL.account}:role/{LAST}"]
    }


@pytest.mark.parametrize("name", ["", "*", "a/b", "arn:aws:iam::1:role/x", "ä", "x" * 65])
def test_a_label_that_is_no_role_is_refused(name: str) -> None:
    """A pattern there would let many in."""
    with pytest.raises(
        pulumi.RunError, match=r"us-west-2: label break_glass is .* expected the name of a role"
    ):
        policy(context(break_glass=name))


def test_where_a_shell_deploys_by_itself_nothing_is_taken_either() -> None:
    """Who governs the bucket can't be named there, and is not."""
    of = context(FLEET.model_copy(update={"role": None}))
    assert [statement["Sid"] for statement in policy(of)["Statement"]] == ["Takes", "Overwrites"]


def glass(cell: AuditCell, **labels: str) -> Here:
    """A cell of these labels, whose buckets are those of the test."""
    place = CELL.model_copy(update={"labels": labels, "account": cell.account})
    return Here(place, "us.audit.example", boto3.Session(), cell.account)


def test_the_last_resort_is_told_of_before_it_is_taken_on(
    cell: AuditCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the log of each tenant that it is about, with who and why; then its credentials are a shell's variables."""
    monkeypatch.setenv("CELLWAVE_ACTOR", "kim of support")
    arn = f"arn:aws:iam::{cell.account}:role/{LAST}"
    boto3.client("iam").create_role(RoleName=LAST, AssumeRolePolicyDocument=json.dumps({"Statement": []}))
    cell.key("acme", "t1")
    found = break_glass(glass(cell, break_glass=LAST), [("acme", "t1")], "court order 12")
    who = boto3.client(
        "sts",
        aws_access_key_id=found["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=found["AWS_SESSION_TOKEN"],
    ).get_caller_identity()["Arn"]
    assert who == f"{arn.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/')}/kim-of-support"
    tick()
    ((line,),) = cell.archived().values()
    assert line["eventName"] == "audit.break-glass"
    assert line["actor"] == {"id": "kim of support", "type": "vendor-staff"}
    assert line["eventDetails"] == {"role": LAST, "reason": "court order 12", "seconds": 900}


def test_a_last_resort_opens_nothing_but_what_is_told_of(
    cell: AuditCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the session's own policy: of one tenant, no other's objects and nothing of the bucket."""
    asked: list[Any] = []

    class Sts:
        """STS, which is asked."""

        def assume_role(self, **how: Any) -> Any:
            asked.append(json.loads(how["Policy"])["Statement"] if "Policy" in how else None)
            return boto3.client("sts").assume_role(**how)

    whole = Here.client
    monkeypatch.setattr(Here, "client", lambda at, name: Sts() if name == "sts" else whole(at, name))
    at = glass(cell, break_glass=LAST)
    break_glass(at, [("acme", "t1")], "why", "acme/t1/")
    break_glass(at, [("acme", "t1"), ("acme", "t2")], "why")
    bucket = f"arn:aws:s3:::{cell.bucket('archive')}"
    of_one, of_all = asked
    assert of_all is None
    assert {one["Resource"]: one["Action"] for one in of_one} == {
        f"{bucket}/acme/t1/*": ["s3:*"],
        bucket: ["s3:ListBucket", "s3:ListBucketVersions"],
        "*": ["kms:Decrypt", "kms:GenerateDataKey"],
    }
    assert {one["Effect"] for one in of_one} == {"Allow"}


def test_a_last_resort_that_can_not_be_told_of_is_not_taken_on(
    cell: AuditCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one without a reason, nor where there is none: nobody is given anything."""
    at = glass(cell, break_glass=LAST)

    class Nobody:
        """STS, who must not be asked."""

        def assume_role(self, **_: object) -> None:
            raise AssertionError("the role is taken on")

    whole = Here.client
    monkeypatch.setattr(Here, "client", lambda at, name: Nobody() if name == "sts" else whole(at, name))
    for reason in ("", "  ", "x" * 1001):
        with pytest.raises(BadInput, match="--reason: found"):
            break_glass(at, [("acme", "t1")], reason)
    with pytest.raises(CellwaveError, match="has no role of last resort"):
        break_glass(glass(cell), [("acme", "t1")], "why")
    boto3.client("s3").delete_bucket(Bucket=cell.bucket("landing"))
    with pytest.raises(ClientError, match="NoSuchBucket"):
        break_glass(at, [("acme", "t1")], "why")
