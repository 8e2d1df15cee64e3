"""The cell's key, which signs for all its logs, each in its own name."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3

from audit.handlers.common.aws import QUICK, setting
from audit.handlers.log.append import Sign
from audit.handlers.log.store import origin_of
from audit.handlers.log.verifier import ED25519, Checkpoint, Key, signature_line, signed

_PUBLIC_BYTES = 32  # the end of the public key that KMS gives


def signer_of(application: str, tenant: str) -> Sign:
    """What signs a log's checkpoints: the cell's key, in the name of that log."""
    origin = origin_of(setting("LOG_ORIGIN"), application, tenant)

    def sign(size: int, root: bytes) -> str:
        text = Checkpoint(origin, size, root).text
        answer = _kms().sign(
            KeyId=setting("LOG_KEY"),
            Message=text.encode(),
            MessageType="RAW",
            SigningAlgorithm="ED25519_SHA_512",
        )
        return signed(text, [signature_line(key_of(origin), answer["Signature"])])

    return sign


def key_of(origin: str) -> Key:
    """The public key of a log."""
    return Key(origin, ED25519, _public(setting("LOG_KEY")))


@cache
def _public(key: str) -> bytes:
    return public_bytes(_kms(), key)


def public_bytes(kms: Any, key: str) -> bytes:
    """The 32 bytes of a public Ed25519 key of KMS's."""
    answer: bytes = kms.get_public_key(KeyId=key)["PublicKey"]
    return answer[-_PUBLIC_BYTES:]


@cache
def _kms() -> Any:
    return boto3.client("kms", config=QUICK)


def forget() -> None:
    """Ask KMS anew at the next call."""
    _kms.cache_clear()
    _public.cache_clear()
