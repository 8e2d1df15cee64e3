"""The edge in front of real APIs of the emulator."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from cellwave.fleet.parse import parse_fleet
from cellwave.project import Project
from cellwave.sandbox.edge.app import product_hosts

from .aws import http_api, session, until

ACCOUNT, REGION = "200000000911", "eu-west-1"
HANDLER = """
import json
def handler(event, context):
    asked = event.get("queryStringParameters") or {}
    if "boom" in asked:
        raise RuntimeError("boom")
    answer = {name: event[name] for name in ("rawPath", "rawQueryString", "headers")}
    answer |= {"body": event.get("body"), "account": event["requestContext"]["accountId"]}
    headers = {"x-own": "yes", "x-account": answer["account"]}
    return {"statusCode": int(asked.get("status", 200)), "body": json.dumps(answer), "headers": headers}
"""


@pytest.fixture(scope="module")
def aws(sandbox: Project) -> boto3.Session:
    """An account of these tests' own."""
    return session(ACCOUNT, REGION)


@pytest.fixture(scope="module")
def api_id(aws: boto3.Session) -> str:
    """An HTTP API that tells what it was asked."""
    return http_api(aws, "asked", HANDLER)


@pytest.fixture(scope="module")
def endpoint(api_id: str) -> str:
    """That API's endpoint."""
    return f"{os.environ['CELLWAVE_EDGE_URL']}/_api/{ACCOUNT}/{REGION}/{api_id}"


def values(aws: boto3.Session, api_id: str, metric: str, statistic: str) -> list[float]:
    """The metric of the last minutes, a value a second."""
    metric_stat: Any = {
        "Metric": {
            "Namespace": "AWS/ApiGateway",
            "MetricName": metric,
            "Dimensions": [{"Name": "ApiId", "Value": api_id}],
        },
        "Period": 1,
        "Stat": statistic,
    }
    now = datetime.now(UTC)
    found = aws.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "m", "MetricStat": metric_stat}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(seconds=5),
    )
    return list(found["MetricDataResults"][0]["Values"])


def test_a_request_reaches_the_handler_as_it_was_sent(endpoint: str) -> None:
    """Method, path, query and body arrive; the handler's status, body and headers come back."""
    answer = httpx.post(
        f"{endpoint}/v1/a%2Fb?x=1&x=2%20", content="hello", headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 200
    assert answer.headers["x-own"] == "yes"
    asked = answer.json()
    assert asked["body"] == "hello"
    assert asked["rawQueryString"] == "x=1&x=2%20"
    assert asked["rawPath"] == "/v1/a/b"  # decoded, as AWS does
    assert httpx.get(endpoint).json()["rawPath"] == "/"


def test_a_handler_sees_the_headers_that_a_client_sent(endpoint: str) -> None:
    """As sent, twice the same name joined, with the client's address; none of the edge's and the emulator's own."""
    sent = [
        ("Authorization", "Bearer a,b"),
        ("X-Twice", "1"),
        ("x-twice", "2"),
        ("Cookie", "a=1"),
        ("Cookie", "b=2"),
        ("C-Own", "x"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("Content-Encoding", "aws-chunked"),
    ]
    with httpx.Client() as client:
        client.headers.clear()
        asked = client.post(endpoint, headers=[*sent, ("Host", "edge.example")], content="hello").json()
    assert asked["headers"] == {
        "host": "edge.example",
        "content-length": "5",
        "authorization": "Bearer a,b",
        "x-twice": "1,2",
        "cookie": "a=1; b=2",
        "c-own": "x",
        "x-forwarded-for": "192.0.2.1,127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-prefix": httpx.URL(endpoint).path,
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "content-encoding": "aws-chunked",
    }
    assert base64.b64decode(asked["body"]) == b"hello"


def test_answers_are_counted_as_aws_counts_them(aws: boto3.Session) -> None:
    """Within seconds Count, 4xx and 5xx add up, and every request's latency is a sample."""
    api_id = http_api(aws, "counted", HANDLER)
    endpoint = f"{os.environ['CELLWAVE_EDGE_URL']}/_api/{ACCOUNT}/{REGION}/{api_id}"
    assert httpx.get(f"{endpoint}/?boom").status_code == 502
    assert [httpx.get(f"{endpoint}/?status={s}").status_code for s in (200, 201, 404)] == [200, 201, 404]
    until("published", lambda: sum(values(aws, api_id, "Count", "Sum")) == 4, within_s=10)
    assert sum(values(aws, api_id, "5xx", "Sum")) == 1
    assert sum(values(aws, api_id, "4xx", "Sum")) == 1
    assert sum(values(aws, api_id, "Latency", "SampleCount")) == 4
    assert all(latency > 0 for latency in values(aws, api_id, "Latency", "Minimum"))


def test_a_region_of_several_cells_answers_by_what_fronts_them(sandbox: Project) -> None:
    """Of one cell by that cell's own service; and each cell has hosts of its own."""
    hosts = {
        host: ([cell.name for cell in cells], service.name)
        for host, (cells, service) in product_hosts(parse_fleet(sandbox.config_files())).items()
    }
    assert hosts["events.us.audit.example"] == (["us-west-2", "us-east-1"], "router")
    assert hosts["query.us.audit.example"] == (["us-west-2", "us-east-1"], "router")
    assert hosts["query.eu-west-1.audit.example"] == (["eu-west-1"], "query")
    assert hosts["events.us-east-1.us.audit.example"] == (["us-east-1"], "ingest")


def test_an_unknown_host_is_told_the_known_ones(sandbox: Project) -> None:
    """The answer is a JSON 404 that lists every product host."""
    answer = httpx.get(f"{os.environ['CELLWAVE_EDGE_URL']}/nothing/here")
    assert answer.status_code == 404
    assert "events.us.audit.example" in answer.json()["hosts"]


@pytest.mark.parametrize("by", ["header", "path"])
def test_a_product_host_is_known_by_header_and_by_path(sandbox: Project, by: str) -> None:
    """A region whose cells have no such API yet says so."""
    host = "events.us.audit.example"
    edge = os.environ["CELLWAVE_EDGE_URL"]
    headers = {"Host": host} if by == "header" else {}
    answer = httpx.get(f"{edge}/x" if by == "header" else f"{edge}/{host}/x", headers=headers)
    assert answer.status_code in (401, 404)
    assert "no such host" not in answer.text


def test_an_upload_needs_a_policy_signed_with_the_secret(aws: boto3.Session) -> None:
    """What the account's key signed is stored, anything else is refused and isn't."""
    s3 = aws.client("s3", config=Config(signature_version="s3v4"))
    s3.create_bucket(Bucket="uploads-911", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    form = s3.generate_presigned_post("uploads-911", "acme/${filename}", ExpiresIn=60)["fields"]
    url = f"{os.environ['CELLWAVE_EDGE_URL']}/_upload/uploads-911"

    def upload(key: str, **changed: str) -> httpx.Response:
        return httpx.post(url, data={**form, "key": key, **changed}, files={"file": b"{}\n"})

    assert upload("acme/good.jsonl").status_code == 204
    refused = upload("acme/bad.jsonl", **{"x-amz-signature": "0" * 64})
    assert refused.status_code == 403
    assert "<Code>SignatureDoesNotMatch</Code>" in refused.text
    assert upload("other/bad.jsonl").status_code == 403
    assert [o["Key"] for o in s3.list_objects_v2(Bucket="uploads-911")["Contents"]] == ["acme/good.jsonl"]
