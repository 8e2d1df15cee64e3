"""Keys and tenants, in the control plane's tables: `python -m audit.admin key acme acme/north`.

What a command has done is published before it ends with 0: every cell knows it within two minutes, and nothing is
deployed for it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from audit.handlers.common.events import A_TENANT, AN_APPLICATION, is_application, is_tenant
from audit.publish import KEYS_TABLE, TENANTS_TABLE, publish, regions, scanned

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


class Unknown(Exception):
    """What was named is not there; the text says what would be right."""


def make_key(application: str, tenant: str | None = None, of: Sequence[str] = ()) -> str:
    """Make a key of some product regions (none named: of all) and return it; only its hash is kept.

    A tenant key registers its tenant to the application. No cell knows of it before the next `publish`.
    """
    secret = secrets.token_urlsafe(32)
    credential = ",".join(part for part in (application, tenant, secret) if part is not None)
    item: dict[str, Any] = {
        "hash": hashlib.sha256(credential.encode()).hexdigest(),
        "kind": "application" if tenant is None else "tenant",
        "applicationId": application,
        "createdAt": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if of:
        item["regions"] = sorted(of)
    if tenant is not None:
        _table(TENANTS_TABLE).put_item(Item={"applicationId": application, "tenantId": tenant})
        item["tenantId"] = tenant
    _table(KEYS_TABLE).put_item(Item=item)
    return base64.b64encode(credential.encode()).decode()


def list_keys() -> list[dict[str, Any]]:
    """What is known of every key (never the key itself), by application and tenant."""
    return sorted(
        scanned(KEYS_TABLE),
        key=lambda key: (str(key["applicationId"]), str(key.get("tenantId", "")), str(key["hash"])),
    )


def revoke(hashes: Sequence[str]) -> None:
    """Take keys away. Every cell lets them in until the next `publish`."""
    for one in hashes:
        _table(KEYS_TABLE).delete_item(Key={"hash": one})


def _table(name: str) -> Table:
    return boto3.resource("dynamodb").Table(name)


def _holder(text: str) -> tuple[str, str | None]:
    application, slash, tenant = text.partition("/")
    if not is_application(application):
        raise argparse.ArgumentTypeError(
            f"found {application!r}, expected {AN_APPLICATION} (APPLICATION or APPLICATION/TENANT)"
        )
    if slash and not is_tenant(tenant):
        raise argparse.ArgumentTypeError(f"found {tenant!r}, expected {A_TENANT} (APPLICATION/TENANT)")
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
    key.add_argument(
        "--region",
        action="append",
        default=[],
        metavar="REGION",
        help="a product region whose cells are told of the keys; may be given again (default: all)",
    )
    revoked = commands.add_parser("revoke", help="take keys away")
    revoked.add_argument("hashes", nargs="+", metavar="HASH", help="of a key, as `keys` lists it")
    commands.add_parser("keys", help="list the keys: hash, kind, application, tenant, one JSON line each")
    commands.add_parser(
        "publish", help="tell the cells once more: after a command that could not, or a new region"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 when done, 1 when the control plane could not be reached or nobody reads what is printed.

    2 when what is named is not there, and nothing was changed. Bad arguments end the process with 2.
    """
    asked = _arguments(argv)
    try:
        _run(asked)
    except Unknown as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BotoCoreError, ClientError) as error:
        print(f"error: {_in_words(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Python would try once more to write what is left, and complain.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
        print("error: nobody reads the output; a key that was not shown is of no use", file=sys.stderr)
        return 1
    return 0


def _run(asked: argparse.Namespace) -> None:
    if asked.command == "keys":
        for known in list_keys():
            print(json.dumps(known, sort_keys=True), flush=True)
        return
    there = regions()  # before anything is changed that no cell could be told of
    if asked.command == "key":
        _require(asked.region, there, "--region: ", f"one of {', '.join(there)}")
    elif asked.command == "revoke":
        known_hashes = {str(key["hash"]) for key in scanned(KEYS_TABLE)}
        _require(asked.hashes, known_hashes, "", "a hash that `python -m audit.admin keys` lists")
    try:
        if asked.command == "key":
            _give(asked.holders, asked.region)
        elif asked.command == "revoke":
            revoke(asked.hashes)
    finally:
        _tell()  # should a later one fail, what was done before is done


def _require(named: Sequence[str], there: Collection[str], where: str, right: str) -> None:
    for one in named:
        if one not in there:
            raise Unknown(f"{where}found {one!r}, expected {right}")


def _give(holders: Sequence[tuple[str, str | None]], of: Sequence[str]) -> None:
    for application, tenant in holders:
        key = make_key(application, tenant, of)
        # At once: should the next one fail, this one exists and is never shown again.
        print(json.dumps({"applicationId": application, "tenantId": tenant, "key": key}), flush=True)


def _tell() -> None:
    try:
        publish()
    except (BotoCoreError, ClientError):
        print(
            "not every cell is told of it yet: when this is mended, `python -m audit.admin publish`",
            file=sys.stderr,
        )
        raise


def _in_words(error: BotoCoreError | ClientError) -> str:
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    if code in ("ResourceNotFoundException", "ParameterNotFound"):
        return (
            "this account and region have no control plane that keys could be made in\n"
            "  Deploy control.control first, and call this with credentials and AWS_REGION of the control cell."
        )
    return f"the control plane's tables can't be used: {error}"


if __name__ == "__main__":
    sys.exit(main())
