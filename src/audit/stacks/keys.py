"""KMS keys of a cell, each under the alias by which policies name it."""

from __future__ import annotations

from pulumi_aws import kms

from cellwave.cell import CellContext


def kms_key(ctx: CellContext, name: str, *, encrypts: bool = True) -> kms.Key:
    """The key `alias/<cell>-<name>`: one that encrypts, and is renewed by itself; or one that signs."""
    key = kms.Key(
        name,
        description=f"{ctx.cell.name}: {name}",
        enable_key_rotation=encrypts or None,
        key_usage=None if encrypts else "SIGN_VERIFY",
        customer_master_key_spec=None if encrypts else "ECC_NIST_EDWARDS25519",
        deletion_window_in_days=7 if ctx.sandbox else 30,
    )
    kms.Alias(name, name=f"alias/{ctx.name(name)}", target_key_id=key.key_id)
    return key


def mac_key(ctx: CellContext, name: str) -> kms.Key:
    """The key `alias/<cell>-<name>`, which makes and verifies MACs."""
    key = kms.Key(
        name,
        description=f"{ctx.cell.name}: {name}",
        key_usage="GENERATE_VERIFY_MAC",
        customer_master_key_spec="HMAC_256",
        deletion_window_in_days=7 if ctx.sandbox else 30,
    )
    kms.Alias(name, name=f"alias/{ctx.name(name)}", target_key_id=key.key_id)
    return key
