"""A Lambda function of a cell: its own role, its own log group, a published version behind the alias `live`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_aws import cloudwatch, iam, lambda_

from cellwave.cell.code import CodeArchive
from cellwave.cell.context import CellContext

ALIAS = "live"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


@dataclass(frozen=True)
class FunctionArgs:
    """A function. `allow` are the IAM statements of what it may do beside writing its log; `timeout` is in seconds,
    `memory` in MB, `keep_logs` in days."""

    code: CodeArchive
    handler: str
    environment: Mapping[str, pulumi.Input[str]]
    allow: Sequence[Mapping[str, Any]] = field(default=())
    timeout: int = 15
    memory: int = 256
    keep_logs: int = 90


class Function(pulumi.ComponentResource):
    """The function `<cell>-<name>`; callers use its alias, so an update is one atomic step."""

    def __init__(
        self, ctx: CellContext, name: str, args: FunctionArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("cellwave:cell:Function", name, None, opts)
        self.name = ctx.name(name)
        inside = pulumi.ResourceOptions(parent=self)
        logs = cloudwatch.LogGroup(
            name, name=f"/aws/lambda/{self.name}", retention_in_days=args.keep_logs, opts=inside
        )
        role = iam.Role(
            name,
            # IAM is global to an account, and an account may hold cells in several regions.
            name=f"{self.name}-{ctx.cell.aws_region}",
            assume_role_policy=json.dumps(_TRUST),
            opts=inside,
        )
        policy = iam.RolePolicy(name, name="own", role=role.name, policy=self._policy(ctx, args), opts=inside)
        self.function = lambda_.Function(
            name,
            name=self.name,
            role=role.arn,
            runtime="python3.12",
            handler=args.handler,
            code=args.code.archive,
            timeout=args.timeout,
            memory_size=args.memory,
            environment={"variables": dict(args.environment)},
            publish=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy, logs]),
        )
        self.alias = lambda_.Alias(
            name,
            name=ALIAS,
            function_name=self.function.name,
            function_version=self.function.version,
            opts=inside,
        )
        self.register_outputs({"name": self.function.name, "version": self.function.version})

    def _policy(self, ctx: CellContext, args: FunctionArgs) -> str:
        logs = {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": ctx.arn("logs", f"log-group:/aws/lambda/{self.name}:*"),
        }
        statements = [logs, *({"Effect": "Allow", **statement} for statement in args.allow)]
        return json.dumps({"Version": "2012-10-17", "Statement": statements})
