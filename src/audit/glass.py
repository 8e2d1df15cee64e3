"""The role of last resort of a cell, taken on by one of the vendor's people: told in the tenants' logs before it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from audit.cells import InCell
from audit.staff import Tenant, staff, tell_tenants
from cellwave.errors import BadInput, CellwaveError

LABEL = "break_glass"  # of a cell: the name of the role, as the archive's policy leaves it out (audit.stacks.archive)
SECONDS = 900  # the shortest that STS has
LONGEST_REASON = 1000  # characters


def break_glass(at: InCell, tenants: Iterable[Tenant], reason: str, prefix: str = "") -> dict[str, str]:
    """Take the role on: its credentials, as a shell's variables, good for a quarter of an hour, and for the archive's
    objects below `prefix` alone where there is one.

    Nothing is taken on that is not told in the log of each of these tenants. Raises BadInput for no reason,
    CellwaveError where the cell has no such role, and botocore's errors.
    """
    if not 1 <= len(reason.strip()) <= LONGEST_REASON:
        right = f"1 to {LONGEST_REASON}: the tenants read it"
        raise BadInput("--reason", f"found {len(reason.strip())} characters", right)
    name = at.cell.labels.get(LABEL)
    if name is None:
        raise CellwaveError(
            f"{at.cell.name} has no role of last resort", hint=f"its label {LABEL} names one, in cells/"
        )
    tell_tenants(at, tenants, "audit.break-glass", {"role": name, "reason": reason, "seconds": SECONDS})
    found = at.client("sts").assume_role(
        RoleArn=f"arn:{at.cell.partition}:iam::{at.cell.account}:role/{name}",
        # What AWS's own trail knows the session by.
        RoleSessionName=re.sub(r"[^\w+=,.@-]", "-", staff().id, flags=re.ASCII)[:64],
        DurationSeconds=SECONDS,
        **({"Policy": json.dumps(_bounds(at, prefix))} if prefix else {}),
    )["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
        "AWS_SESSION_TOKEN": found["SessionToken"],
        "AWS_REGION": at.cell.aws_region,
    }


def _bounds(at: InCell, prefix: str) -> dict[str, Any]:
    """What of the role a session has that the logs of those below `prefix` alone are told of."""
    bucket = f"arn:{at.cell.partition}:s3:::{at.bucket('archive')}"
    allowed = {
        f"{bucket}/{prefix}*": ["s3:*"],
        bucket: ["s3:ListBucket", "s3:ListBucketVersions"],
        "*": ["kms:Decrypt", "kms:GenerateDataKey"],
    }
    statements = [
        {"Effect": "Allow", "Action": action, "Resource": resource} for resource, action in allowed.items()
    ]
    return {"Version": "2012-10-17", "Statement": statements}
