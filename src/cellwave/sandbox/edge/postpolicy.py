"""The signature of an S3 POST policy, which the emulator doesn't check."""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from xml.sax.saxutils import escape

SIGNING_FIELDS = ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")

_BOUNDARY = re.compile(r'boundary=("?)([^";\s]+)\1', re.IGNORECASE)
_DISPOSITION = re.compile(
    rb'content-disposition: *form-data; *name=(?:"([^"\r\n]+)"|([\w.-]+))(?:; *filename="[^"\r\n]*")?',
    re.IGNORECASE,
)
_CREDENTIAL = re.compile(r"(\d{12}|ASIA\w+)/(\d{8})/([a-z0-9-]+)/s3/aws4_request", re.ASCII)


class Refused(Exception):
    """An upload that S3 would refuse: the HTTP status, S3's error code and its message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    @property
    def xml(self) -> str:
        """The body of S3's answer."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{self.code}</Code><Message>{escape(self.message)}</Message></Error>"
        )


def form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """The form's fields by lower-case name, without the file.

    Strict, so that whoever reads the same body later can't read other fields: each part has one
    Content-Disposition of the plain form, no name comes twice. Raises Refused.
    """
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or not found:
        raise _malformed("it is not multipart/form-data")
    fields: dict[str, str] = {}
    for part in body.split(b"--" + found.group(2).encode())[1:-1]:
        head, separator, value = part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n")
        lines = [
            line for line in head.split(b"\r\n") if line.lower().strip().startswith(b"content-disposition")
        ]
        disposition = _DISPOSITION.fullmatch(lines[0].strip()) if len(lines) == 1 else None
        if not separator or disposition is None:
            raise _malformed("a part has no plain Content-Disposition")
        name = (disposition.group(1) or disposition.group(2)).decode("latin-1").lower()
        if name in fields:
            raise _malformed(f"the field {name} comes twice")
        fields[name] = "" if name == "file" else value.decode("utf-8", "replace")
    return fields


def verify(fields: dict[str, str], secret: str) -> None:
    """Check that the policy was signed with `secret` (AWS Signature Version 4); raises Refused as S3 answers."""
    if "awsaccesskeyid" in fields:
        raise Refused(
            400,
            "InvalidRequest",
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        )
    if any(not fields.get(name) for name in SIGNING_FIELDS):
        raise Refused(403, "AccessDenied", "Access Denied")
    if fields["x-amz-algorithm"] != "AWS4-HMAC-SHA256":
        raise Refused(400, "InvalidArgument", "X-Amz-Algorithm only supports AWS4-HMAC-SHA256")
    credential = _CREDENTIAL.fullmatch(fields["x-amz-credential"])
    if credential is None:
        raise Refused(
            403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."
        )
    _, day, region = credential.groups()
    right = signature(fields["policy"], secret, day, region)
    # As bytes: of texts it compares ASCII only, and a client may send any.
    if not hmac.compare_digest(right.encode(), fields["x-amz-signature"].encode()):
        raise Refused(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.",
        )


def signature(policy: str, secret: str, day: str, region: str) -> str:
    """The hex signature of a base64 policy document."""
    key = functools.reduce(_hmac, (day, region, "s3", "aws4_request", policy), f"AWS4{secret}".encode())
    return key.hex()


def too_large() -> Refused:
    """What S3 says to a body beyond its largest object."""
    return Refused(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _malformed(why: str) -> Refused:
    message = "The body of your POST request is not well-formed multipart/form-data"
    return Refused(400, "MalformedPOSTRequest", f"{message}: {why}.")
