"""Keys and tenants, in the control plane's tables: `python -m audit.admin key acme acme/north`.

A cell learns of a new key when its storage stack is deployed next, and answers it within a minute of that.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from audit.handlers.common.events import AN_ID, is_id

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

KEYS_TABLE = "control-keys"
TENANTS_TABLE = "control-tenants"


def make_key(application: str, tenant: str | None = None) -> str:
    """Make a key and return it; only its hash is kept. A tenant key registers its tenant to the application."""
    secret = secrets.token_urlsafe(32)
    credential = ",".join(part for part in (application, tenant, secret) if part is not None)
    item = {
        "hash": hashlib.sha256(credential.encode()).hexdigest(),
        "kind": "application" if tenant is None else "tenant",
        "applicationId": application,
        "createdAt": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if tenant is not None:
        _table(TENANTS_TABLE).put_item(Item={"applicationId": application, "tenantId": tenant})
        item["tenantId"] = tenant
    _table(KEYS_TABLE).put_item(Item=item)
    return base64.b64encode(credential.encode()).decode()


def list_keys() -> list[dict[str, Any]]:
    """What is known of every key (never the key itself), by application and tenant."""
    table = _table(KEYS_TABLE)
    answer = table.scan()
    keys = answer["Items"]
    while "LastEvaluatedKey" in answer:
        answer = table.scan(ExclusiveStartKey=answer["LastEvaluatedKey"])
        keys += answer["Items"]
    return sorted(
        keys, key=lambda key: (str(key["applicationId"]), str(key.get("tenantId", "")), str(key["hash"]))
    )


def _table(name: str) -> Table:
    return boto3.resource("dynamodb").Table(name)


def _holder(text: str) -> tuple[str, str | None]:
    application, slash, tenant = text.partition("/")
    for name in (application, *([tenant] if slash else [])):
        if not is_id(name):
            raise argparse.ArgumentTypeError(
                f"found {name!r}, expected {AN_ID} (APPLICATION or APPLICATION/TENANT)"
            )
    return application, tenant if slash else None


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m audit.admin", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    key = commands.add_parser("key", help="make keys and print each, once, as a JSON line")
    key.add_argument(
        "holders",
        type=_holder,
        nargs="+",
        metavar="APPLICATION[/TENANT]",
        help="an application's key writes events for its tenants, a tenant's reads its own",
    )
    commands.add_parser("keys", help="list the keys: hash, kind, application, tenant, one JSON line each")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 when done, 1 when the control plane could not be reached or nobody reads what is printed.

    Bad arguments end the process with 2.
    """
    asked = _arguments(argv)
    try:
        if asked.command == "key":
            for application, tenant in asked.holders:
                key = make_key(application, tenant)
                # At once: should the next one fail, this one exists and is never shown again.
                print(json.dumps({"applicationId": application, "tenantId": tenant, "key": key}), flush=True)
        else:
            for known in list_keys():
                print(json.dumps(known, sort_keys=True), flush=True)
    except (BotoCoreError, ClientError) as error:
        print(f"error: {_in_words(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Python would try once more to write what is left, and complain.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
        print("error: nobody reads the output; a key that was not shown is of no use", file=sys.stderr)
        return 1
    return 0


def _in_words(error: BotoCoreError | ClientError) -> str:
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    if code == "ResourceNotFoundException":
        return (
            f"this account and region have no tables {KEYS_TABLE} and {TENANTS_TABLE}\n"
            "  Deploy control.control first, and call this with credentials and AWS_REGION of the control cell."
        )
    return f"the control plane's tables can't be used: {error}"


if __name__ == "__main__":
    sys.exit(main())
