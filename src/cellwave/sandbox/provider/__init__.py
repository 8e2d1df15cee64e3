"""A stand-in for Pulumi's AWS provider where its plugin can't be had: gRPC to the engine, boto3 to AWS_ENDPOINT_URL.

`python -m cellwave.sandbox.provider --port N` serves until it is told to stop; `serve` does so in this process.
Engines attach with PULUMI_DEBUG_PROVIDERS=aws:PORT. Add a resource type by a row in `kinds/`.
"""

from cellwave.sandbox.provider.server import serve

__all__ = ["serve"]
