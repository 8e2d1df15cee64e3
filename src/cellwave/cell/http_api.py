"""An HTTP API whose every request one function answers."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import apigatewayv2, lambda_

from cellwave.cell.alarms import Alarm
from cellwave.cell.context import CellContext
from cellwave.cell.function import ALIAS, Function


@dataclass(frozen=True)
class HttpApiArgs:
    """The function that answers, and how many requests a second the API lets through (`burst` at once)."""

    function: Function
    rate: int = 1000
    burst: int = 2000


class HttpApi(pulumi.ComponentResource):
    """The API `<cell>-<service>`; `id` and `endpoint` are its outputs."""

    def __init__(
        self, ctx: CellContext, args: HttpApiArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        name = ctx.service.name
        super().__init__("cellwave:cell:HttpApi", name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        api = apigatewayv2.Api(name, name=ctx.name(name), protocol_type="HTTP", opts=inside)
        integration = apigatewayv2.Integration(
            name,
            api_id=api.id,
            integration_type="AWS_PROXY",
            integration_method="POST",
            integration_uri=args.function.alias.invoke_arn,
            payload_format_version="2.0",
            opts=inside,
        )
        target = pulumi.Output.concat("integrations/", integration.id)
        apigatewayv2.Route(name, api_id=api.id, route_key="$default", target=target, opts=inside)
        apigatewayv2.Stage(
            name,
            api_id=api.id,
            name="$default",
            auto_deploy=True,
            default_route_settings={
                "throttling_rate_limit": args.rate,
                "throttling_burst_limit": args.burst,
                "detailed_metrics_enabled": True,
            },
            opts=inside,
        )
        lambda_.Permission(
            name,
            statement_id="http-api",
            action="lambda:InvokeFunction",
            principal="apigateway.amazonaws.com",
            function=args.function.function.name,
            qualifier=ALIAS,
            source_arn=pulumi.Output.concat(api.execution_arn, "/*/*"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.function.alias]),
        )
        self.id = api.id
        self.endpoint = api.api_endpoint
        self.register_outputs({"id": self.id, "endpoint": self.endpoint})

    def alarms(self, *, errors: float = 0.01, latency_ms: float = 5000) -> dict[str, Alarm]:
        """Alarms on the share of requests answered 5xx (0..1) and on the 90th percentile of the time to answer."""
        here = {"ApiId": self.id}
        return {
            "errors": Alarm(
                # Every request is a sample of 0 or 1: the average is the share.
                "5xx", "AWS/ApiGateway", here, errors, "the share of requests answered 5xx", statistic="Average"
            ),
            "latency": Alarm(
                "Latency", "AWS/ApiGateway", here, latency_ms, "milliseconds to answer", statistic="p90"
            ),
        }  # fmt: skip
