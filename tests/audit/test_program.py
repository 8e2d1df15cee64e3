"""The Pulumi program, by the literal `pulumi` command line, as it runs from a release's folder."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from cellwave.cell import code_archive
from cellwave.releases.code import code_digest
from tests.audit.deployment import CELL, SERVICES, Deployment, until
from tests.audit.support import event

pytestmark = pytest.mark.engine
HTTP = httpx.Client(timeout=60)  # a function starts cold, on a machine that others use


def test_events_flow_through_a_deployed_cell(deployed: Deployment) -> None:
    """A direct post and an upload by policy are archived, indexed and read back by their tenant alone: with keys that
    were made after all was deployed. An index that is lost is made anew; each event has
    an entry in its tenant's log."""
    application = deployed.key("flow")
    tenant, other = (deployed.key(f"flow/{name}") for name in ("t1", "t2"))
    assert "stale" not in deployed.pull()
    ingest, query = (deployed.outputs(service)["url"] for service in ("ingest", "query"))

    def accepted() -> bool:
        # A function's copy of the directory may be older.
        return HTTP.post(f"{ingest}/v1/events", headers=application, json=event()).status_code == 202

    until(accepted, within=90)
    session = HTTP.get(f"{ingest}/applications/session", headers=application).json()
    uploaded = HTTP.post(
        session["uploadUrl"],
        data={**session["form"], "key": "flow/a.jsonl"},
        files={"file": json.dumps(event(second=1)).encode()},
    )
    assert uploaded.status_code == 204

    def read(key: dict[str, str]) -> list[str]:
        answer = HTTP.get(f"{query}/v1/events", headers=key, params={"eventName": "login"})
        return [found["eventTime"] for found in answer.json().get("events", [])]

    until(lambda: len(read(tenant)) >= 2, within=90)
    assert read(tenant)[0] == event(second=1)["eventTime"]
    assert read(other) == []
    bucket = f"{CELL}-{deployed.fleet.cell(CELL).account}-archive"
    keys = [
        entry["Key"] for entry in deployed.aws("s3").list_objects_v2(Bucket=bucket, Prefix="flow")["Contents"]
    ]
    assert len(keys) == 2
    assert all(key.startswith("flow/t1/") for key in keys)
    index, name = deployed.aws("dynamodb"), f"{CELL}-index"
    for item in index.scan(TableName=name)["Items"]:
        index.delete_item(TableName=name, Key={"pk": item["pk"], "sk": item["sk"]})
    assert read(tenant) == []
    made = json.loads(deployed.admin("reindex", CELL, "--of", "flow/t1", "--json"))
    assert made == {"cell": CELL, "objects": 2, "events": 2}
    assert len(read(tenant)) == 2
    assert json.loads(deployed.admin("redrive", CELL, "--json")) == {
        "cell": CELL,
        "queue": "ingest",
        "sent": 0,
    }

    def has_both() -> bool:
        # Before the first minute is over there is no log.
        return int(log().get("size", 0)) >= 2

    def log() -> dict[str, Any]:
        said = deployed.admin("verify", CELL, "flow/t1", "--json", check=False)
        found: dict[str, Any] = json.loads(said) if said else {}
        return found

    until(has_both, within=240)
    found = log()
    assert (found["log"], found["findings"]) == ("eu-west-1.audit.example/flow/t1", [])

    def told() -> bool:
        answer = HTTP.get(f"{query}/v1/events", headers=tenant, params={"serviceEvent": "true"})
        names = {found["eventName"] for found in answer.json()["events"]}
        return names >= {"audit.index.made", "audit.log.verified"}

    until(told, within=150)


def test_an_event_waits_for_its_tenant(deployed: Deployment) -> None:
    """Until that has a key; what is no event is shown to the application."""
    application = deployed.key("early")
    deployed.pull()
    ingest, query = (deployed.outputs(service)["url"] for service in ("ingest", "query"))
    url = f"{ingest}/v1/events"
    until(lambda: httpx.post(url, headers=application, json=event()).status_code == 202, within=90)
    tenant = deployed.key("early/t1")
    deployed.pull()

    def read() -> bool:
        deployed.call("ingest-waiting", time=datetime.now(UTC).isoformat())
        answer = httpx.get(f"{query}/v1/events", headers=tenant, params={"eventName": "login"})
        return answer.status_code == 200 and len(answer.json()["events"]) == 1

    until(read, within=90)
    session = httpx.get(f"{ingest}/applications/session", headers=application).json()
    form = {**session["form"], "key": "early/a.jsonl"}
    httpx.post(session["uploadUrl"], data=form, files={"file": gzip.compress(b"no event")})
    shown = f"{ingest}/v1/rejected"
    until(lambda: httpx.get(shown, headers=application).json()["rejected"] != [], within=90)
    (record,) = httpx.get(shown, headers=application).json()["rejected"]
    asked = {"object": record["object"], "line": 1}
    assert httpx.post(f"{shown}/replay", headers=application, json=asked).json() == {"accepted": 1}


def test_an_export_is_made_in_a_deployed_cell(deployed: Deployment) -> None:
    """By a worker that nobody calls; its URL needs no key, and the events are there as they were accepted."""
    ingest, query = (deployed.outputs(service)["url"] for service in ("ingest", "query"))
    mine = deployed.keys["acme/t1"]
    sent = event(eventName="exported")
    assert httpx.post(f"{ingest}/v1/events", headers=deployed.keys["acme"], json=sent).status_code == 202
    asked = {"eventName": "exported"}
    until(
        lambda: bool(httpx.get(f"{query}/v1/events", headers=mine, params=asked).json()["events"]), within=90
    )
    begun = httpx.post(f"{query}/v1/exports", headers=mine, json={"format": "jsonl.gz", **asked}).json()

    def found() -> Any:
        return httpx.get(f"{query}/v1/exports/{begun['id']}", headers=mine).json()

    until(lambda: found()["state"] != "pending", within=90)
    (line,) = gzip.decompress(httpx.get(found()["url"]).raise_for_status().content).splitlines()
    assert {name: value for name, value in json.loads(line).items() if name != "eventId"} == sent


def test_a_viewer_is_opened_in_a_deployed_cell(deployed: Deployment) -> None:
    """By a link that a KMS key of the cell's vouches for, at the address that the API was asked under."""
    vendor, _ = deployed.key("vendor", "--scope", "view"), deployed.key("vendor/t1")
    deployed.pull()
    links = f"{deployed.outputs('query')['url']}/v1/viewer-links"
    until(lambda: HTTP.post(links, headers=vendor, json={"tenantId": "t1"}).status_code == 201, within=90)
    url = HTTP.post(links, headers=vendor, json={"tenantId": "t1"}).json()["url"]
    page = HTTP.get(url)
    assert page.status_code == 200
    assert "Events of tenant t1" in page.text or "No events." in page.text
    for part in re.findall(r'(?:href|src)="([^"]*viewer-assets/[^"]*)"', page.text):
        assert HTTP.get(httpx.URL(url).join(part)).status_code == 200
    settings = HTTP.get(url.replace("/events", "/settings"))
    assert "locked in the archive for 1 day" in settings.text
    assert HTTP.get(url.replace("/events", "x/events")).status_code == 403


def test_a_stream_sends_events_out_of_a_deployed_cell(deployed: Deployment) -> None:
    """Into a bucket of the tenant's own account, by its role; to this machine's own addresses nothing goes."""
    application = deployed.key("streamer")
    tenant = deployed.key("streamer/t1", "--scope", "stream")
    deployed.pull()
    ingest, query = (deployed.outputs(service)["url"] for service in ("ingest", "query"))
    streams, account = f"{query}/v1/streams", "330000009999"
    until(lambda: HTTP.get(streams, headers=tenant).status_code == 200, within=90)
    s3 = boto3.client("s3", region_name="eu-west-1", aws_access_key_id=account, aws_secret_access_key="x")
    s3.create_bucket(Bucket="of-a-tenant", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    role = f"arn:aws:iam::{account}:role/audit"
    there = {"kind": "s3", "bucket": "of-a-tenant", "prefix": "a/", "region": "eu-west-1", "roleArn": role}
    inside = {"kind": "https", "url": "https://127.0.0.1:4566/"}
    ids = [
        HTTP.post(streams, headers=tenant, json={"destination": one}).raise_for_status().json()["id"]
        for one in (there, inside)
    ]

    def shown() -> list[dict[str, Any]]:
        deployed.call("query-streams")
        return [HTTP.get(f"{streams}/{one}", headers=tenant).json() for one in ids]

    until(lambda: [one["state"] for one in shown()] == ["active", "unverified"], within=90)
    assert shown()[1]["error"]["message"] == "127.0.0.1 is at 127.0.0.1, which is no public address"
    url = f"{ingest}/v1/events"
    until(lambda: HTTP.post(url, headers=application, json=event()).status_code == 202, within=90)

    def objects() -> list[str]:
        deployed.call("log-sequencer")
        shown()
        return [one["Key"] for one in s3.list_objects_v2(Bucket="of-a-tenant").get("Contents", [])]

    until(lambda: len(objects()) > 1, within=90)
    lines = [
        line
        for key in objects()
        if not key.endswith("/test.jsonl")
        for line in s3.get_object(Bucket="of-a-tenant", Key=key)["Body"].read().splitlines()
    ]
    assert event() in [
        {name: value for name, value in json.loads(line).items() if name != "eventId"} for line in lines
    ]


def test_a_revoked_key_ends_by_itself(deployed: Deployment) -> None:
    """Nobody calls anything: the cell's schedule brings it."""
    key, kept = deployed.key("leaver/t1"), deployed.key("stayer/t1")
    deployed.pull()
    url = f"{deployed.outputs('query')['url']}/v1/events"
    until(lambda: HTTP.get(url, headers=key).status_code == 200, within=90)
    credential = base64.b64decode(key["Authorization"].split()[1])
    deployed.admin("revoke", hashlib.sha256(credential).hexdigest())
    until(lambda: HTTP.get(url, headers=key).status_code == 401, within=300)
    assert HTTP.get(url, headers=kept).status_code == 200


def test_a_cell_of_before_is_upgraded_in_place(deployed: Deployment) -> None:
    """Its storage said what the directory holds. The new one puts and deletes nothing, and what came from there serves
    until the next pull."""
    path = deployed.folder / "src/audit/stacks/storage.py"
    whole = path.read_text()
    before = whole.replace('{"applications": {}}', '{"applications": {"old": {}}}')
    before = before.replace('ignore_changes=["content"]', "")
    assert before.count("old") > whole.count("old")
    place: Any = {"Bucket": f"{CELL}-{deployed.fleet.cell(CELL).account}-config", "Key": "directory.json"}
    s3 = deployed.aws("s3")
    path.write_text(before)
    try:
        deployed.up(f"{CELL}.storage")
    finally:
        path.write_text(whole)
    put = s3.get_object(**place)
    assert json.loads(put["Body"].read()) == {"applications": {"old": {}}}
    deployed.up(f"{CELL}.storage", "--expect-no-changes")
    assert s3.head_object(**place)["VersionId"] == put["VersionId"]
    assert deployed.pull()["version"]
    assert "old" not in json.loads(s3.get_object(**place)["Body"].read())["applications"]


def test_health_answers_the_digest_of_the_service_s_code(deployed: Deployment) -> None:
    """The same that a release expects of the files that the program packs."""
    for service in ("ingest", "router", "query"):
        folders = deployed.fleet.service(CELL, service).code
        answer = HTTP.get(f"{deployed.outputs(service)['url']}/healthz")
        packed = code_archive(deployed.folder, folders).files
        expected = code_digest({name: path.read_bytes() for name, path in packed.items()})
        assert answer.json() == {"service": service, "digest": expected}


def test_a_second_up_changes_nothing(deployed: Deployment) -> None:
    """Nor does the emulated AWS drift from what was asked for."""
    for stack in ("control.control", *(f"{CELL}.{service}" for service in SERVICES)):
        deployed.up(stack, "--expect-no-changes", "--refresh")


def test_the_release_marker_is_in_the_cell(deployed: Deployment) -> None:
    """Each service's parameter holds the digest of the release whose folder the program ran from."""
    values = {
        service: deployed.aws("ssm").get_parameter(Name=f"/cellwave/{service}")["Parameter"]["Value"]
        for service in SERVICES
    }
    assert len(set(values.values())) == 1
    assert len(values["query"]) == 64


def test_each_service_has_one_composite_alarm(deployed: Deployment) -> None:
    """It is OK, and goes to ALARM when one of its alarms does."""
    cloudwatch = deployed.aws("cloudwatch")

    def state(service: str) -> str:
        found = cloudwatch.describe_alarms(AlarmNames=[f"{CELL}-{service}"], AlarmTypes=["CompositeAlarm"])
        return str(found["CompositeAlarms"][0]["StateValue"])

    api = {"Name": "ApiId", "Value": deployed.outputs("query")["api_id"]}

    def red_while_errors_last() -> bool:
        errors = {"MetricName": "5xx", "Dimensions": [api], "Values": [1.0, 0.0], "Counts": [5, 20]}
        cloudwatch.put_metric_data(Namespace="AWS/ApiGateway", MetricData=[errors])
        return state("query") == "ALARM"

    until(lambda: [state(service) for service in SERVICES] == ["OK"] * len(SERVICES))
    until(red_while_errors_last)
    assert state("ingest") == "OK"
    until(lambda: state("query") == "OK")


def test_a_snapshot_that_is_no_good_is_reported_and_changes_nothing(deployed: Deployment) -> None:
    """The last good one serves on; the alarm is red when that lasts."""
    key, url = deployed.key("stale/t1"), f"{deployed.outputs('query')['url']}/v1/events"
    deployed.pull()
    until(lambda: HTTP.get(url, headers=key).status_code == 200, within=90)
    account = deployed.fleet.cell("control").account
    s3 = boto3.client("s3", aws_access_key_id=account, aws_secret_access_key="any", region_name="us-east-1")
    place: Any = {"Bucket": f"control-{account}-directory", "Key": "eu-west-1.json"}
    good = s3.get_object(**place)
    s3.put_object(**place, Body=b'{"applications": {}}', Metadata=good["Metadata"])
    try:
        assert "signature is wrong" in deployed.pull()["stale"]
        assert HTTP.get(url, headers=key).status_code == 200
    finally:
        s3.put_object(**place, Body=good["Body"].read(), Metadata=good["Metadata"])
    assert "stale" not in deployed.pull()
    cloudwatch, now = deployed.aws("cloudwatch"), time.time()
    stale = {"MetricName": "Stale", "Dimensions": [{"Name": "Service", "Value": "directory"}], "Value": 1.0}
    metrics = [{**stale, "Timestamp": now - ago} for ago in (0, 60)]

    def red() -> bool:
        alarms = cloudwatch.describe_alarms(AlarmNames=[f"{CELL}-directory"], AlarmTypes=["CompositeAlarm"])
        return bool(alarms["CompositeAlarms"][0]["StateValue"] == "ALARM")

    cloudwatch.put_metric_data(Namespace="Audit", MetricData=metrics)
    until(red)


def test_the_archive_is_locked_and_encrypted(deployed: Deployment) -> None:
    """A default retention on every object, and the cell's own KMS key."""
    s3, bucket = deployed.aws("s3"), f"{CELL}-{deployed.fleet.cell(CELL).account}-archive"
    lock = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    assert lock["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", "Days": 1}
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    aliases = {a["AliasName"]: a.get("TargetKeyId") for a in deployed.aws("kms").list_aliases()["Aliases"]}
    key = aliases[f"alias/{CELL}-archive"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"].endswith(f"key/{key}")


def test_a_function_may_do_what_it_does_and_no_more(deployed: Deployment) -> None:
    """No action and no resource of a policy is a star alone; the query function writes nothing of events."""
    iam = deployed.aws("iam")
    for function in ("ingest-api", "ingest-processor", "query-api"):
        policy = iam.get_role_policy(RoleName=f"{CELL}-{function}-eu-west-1", PolicyName="own")
        statements = policy["PolicyDocument"]["Statement"]
        actions = {action for one in statements for action in _list(one["Action"])}
        resources = {resource for one in statements for resource in _list(one["Resource"])}
        assert all("*" not in action for action in actions)
        assert "*" not in resources
        if function == "query-api":
            of_events = [one for one in statements if "-index" in str(one["Resource"])]
            assert [_list(one["Action"]) for one in of_events] == [["dynamodb:Query"]]


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_a_resource_with_another_provider_ends_the_program(deployed: Deployment, tmp_path: Path) -> None:
    """Neither a second provider nor a resource that names one gets past the boundary."""
    for line, reason in {
        "aws.Provider('other', region='us-east-1')": "provider 'other': eu-west-1.query has one AWS provider",
        "sqs.Queue('q', opts=pulumi.ResourceOptions(provider=other))": "'q': its provider is not the one pinned",
    }.items():
        program = tmp_path / str(len(reason))
        shutil.copytree(deployed.folder / "cells", program / "cells")
        (program / "Pulumi.yaml").write_text("name: probe\nruntime: python\n")
        (program / "__main__.py").write_text(
            "import pulumi\nimport pulumi_aws as aws\nfrom pulumi_aws import sqs\n"
            "from cellwave.cell import context, pinned_provider\n"
            "other = aws.Provider('before', region='us-east-1')\n"
            f"pinned_provider(context())\n{line}\n"
        )
        deployed.pulumi("stack", "select", "--create", f"{CELL}.query", cwd=program)
        said = deployed.pulumi("preview", cwd=program, fails=True)
        assert reason in said
        assert "Traceback" not in said


def test_an_unknown_stack_lists_the_known_ones(deployed: Deployment) -> None:
    """Without a traceback, and nothing is made."""
    deployed.pulumi("stack", "select", "--create", "mars.ingest")
    said = deployed.pulumi("preview", fails=True)
    assert "us-west-2.ingest" in said
    assert "Traceback" not in said


def test_a_cell_can_be_destroyed(deployed: Deployment) -> None:
    """In the sandbox even its archive; afterwards nothing of it is there."""
    for service in reversed(SERVICES):
        deployed.pulumi("destroy", "--yes", "--skip-preview", "--stack", f"{CELL}.{service}")
    names = [bucket["Name"] for bucket in deployed.aws("s3").list_buckets()["Buckets"]]
    assert names == []
    assert deployed.aws("lambda").list_functions()["Functions"] == []
    assert deployed.aws("dynamodb").list_tables()["TableNames"] == []
