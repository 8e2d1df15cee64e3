"""POST policies."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from types import MappingProxyType

import boto3
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwave.sandbox.edge import postpolicy

SECRET = "s3cret"


def signed_form(changed: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The fields of a form that boto3 signed with SECRET, some of them changed."""
    client = boto3.client(
        "s3", region_name="ap-south-1", aws_access_key_id="200000000001", aws_secret_access_key=SECRET
    )
    post = client.generate_presigned_post("bucket", "acme/${filename}", ExpiresIn=60)
    return {**post["fields"], **{name.lower(): value for name, value in changed.items()}}


def body_of(fields: dict[str, str]) -> tuple[str, bytes]:
    """Content type and body as a client sends them."""
    request = httpx.Request("POST", "http://edge", data=fields, files={"file": ("a.jsonl", b"{}\n")})
    return request.headers["content-type"], request.read()


def test_what_boto3_signed_is_accepted() -> None:
    """The fields of a real form are found in its body, and their signature holds."""
    fields = postpolicy.form_fields(*body_of(signed_form()))
    postpolicy.verify(fields, SECRET)
    assert set(postpolicy.SIGNING_FIELDS) | {"key", "file"} == set(fields)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"x-amz-signature": "0" * 64}, "SignatureDoesNotMatch"),
        ({"x-amz-signature": "ä"}, "SignatureDoesNotMatch"),
        ({"policy": base64.b64encode(b'{"conditions": []}').decode()}, "SignatureDoesNotMatch"),
        ({"x-amz-credential": "200000000001/20200101/ap-south-1/s3/aws4_request"}, "SignatureDoesNotMatch"),
        ({"x-amz-credential": "AKIA/20200101/ap-south-1/s3/aws4_request"}, "InvalidAccessKeyId"),
        ({"x-amz-algorithm": "AWS4-HMAC-SHA1"}, "InvalidArgument"),
        ({"policy": ""}, "AccessDenied"),
        ({"x-amz-signature": ""}, "AccessDenied"),
        ({"AWSAccessKeyId": "200000000001"}, "InvalidRequest"),
    ],
)
def test_a_changed_form_is_refused(changed: dict[str, str], code: str) -> None:
    """Signature, policy, credential and algorithm can't be changed, nor left out."""
    with pytest.raises(postpolicy.Refused) as refused:
        postpolicy.verify(signed_form(changed), SECRET)
    assert refused.value.code == code
    assert f"<Code>{code}</Code>" in refused.value.xml


def test_another_secret_does_not_hold() -> None:
    """A form signed with a secret that isn't the account's is refused."""
    with pytest.raises(postpolicy.Refused, match="does not match"):
        postpolicy.verify(signed_form(), "other")


def test_a_field_that_comes_twice_is_refused() -> None:
    """A second policy behind the verified one can't reach S3."""
    content_type, body = body_of(signed_form())
    boundary = content_type.split("boundary=")[1].encode()
    extra = b"--" + boundary + b'\r\nContent-Disposition: form-data; name="Policy"\r\n\r\nx\r\n'
    with pytest.raises(postpolicy.Refused, match="comes twice"):
        postpolicy.form_fields(content_type, extra + body)


@given(st.text(), st.binary())
def test_any_body_is_read_or_refused(content_type: str, body: bytes) -> None:
    """Garbage is refused as malformed, never a crash."""
    with pytest.raises(postpolicy.Refused) as refused:
        postpolicy.form_fields(content_type, body)
    assert refused.value.status == 400
