"""The alarms of a service: one a metric, and a composite one over them that a rollout and a person look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_aws import cloudwatch

from cellwave.cell.context import CellContext


@dataclass(frozen=True)
class Timing:
    """How a metric is watched: `needed` of the last `periods` periods of `seconds` each must be over the threshold."""

    seconds: int = 60
    periods: int = 3
    needed: int = 2


# AWS has one value a minute of its own metrics; the emulator has each at once, and a demonstration no three minutes.
ON_AWS, IN_SANDBOX = Timing(), Timing(seconds=5, periods=3, needed=2)


@dataclass(frozen=True)
class Alarm:
    """A metric that must stay at or under `over`. `statistic` is Sum, Average, Maximum or a percentile such as p90."""

    metric: str
    namespace: str
    dimensions: Mapping[str, pulumi.Input[str]]
    over: float
    why: str
    statistic: str = "Sum"


@dataclass(frozen=True)
class ServiceAlarmsArgs:
    """The alarms of a service by short name, and how they are watched (default: as fits where it is deployed)."""

    alarms: Mapping[str, Alarm]
    timing: Timing | None = None
    actions: Sequence[pulumi.Input[str]] = field(default=())


class ServiceAlarms(pulumi.ComponentResource):
    """Metric alarms `<cell>-<service>-<name>` under one composite alarm `<cell>-<service>`.

    Missing data is no breach: a service that nobody calls is not ill.
    """

    def __init__(
        self, ctx: CellContext, args: ServiceAlarmsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("cellwave:cell:ServiceAlarms", ctx.service.name, None, opts)
        timing = args.timing or (IN_SANDBOX if ctx.sandbox else ON_AWS)
        inside = pulumi.ResourceOptions(parent=self)
        parts = [self._metric_alarm(ctx, name, alarm, timing, inside) for name, alarm in args.alarms.items()]
        self.composite = cloudwatch.CompositeAlarm(
            "all",
            alarm_name=ctx.name(ctx.service.name),
            alarm_description=f"{ctx.service.name} in {ctx.cell.name}: any of its alarms",
            alarm_rule=" OR ".join(
                f"ALARM({ctx.name(f'{ctx.service.name}-{name}')})" for name in args.alarms
            ),
            alarm_actions=list(args.actions) or None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=parts),
        )
        self.register_outputs({"name": self.composite.alarm_name})

    @staticmethod
    def _metric_alarm(
        ctx: CellContext, name: str, alarm: Alarm, timing: Timing, opts: pulumi.ResourceOptions
    ) -> cloudwatch.MetricAlarm:
        percentile = alarm.statistic.startswith("p")
        return cloudwatch.MetricAlarm(
            name,
            name=ctx.name(f"{ctx.service.name}-{name}"),
            alarm_description=alarm.why,
            namespace=alarm.namespace,
            metric_name=alarm.metric,
            dimensions=alarm.dimensions,
            statistic=None if percentile else alarm.statistic,
            extended_statistic=alarm.statistic if percentile else None,
            comparison_operator="GreaterThanThreshold",
            threshold=alarm.over,
            period=timing.seconds,
            evaluation_periods=timing.periods,
            datapoints_to_alarm=timing.needed,
            treat_missing_data="notBreaching",
            opts=opts,
        )
