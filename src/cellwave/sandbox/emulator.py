"""MiniStack with some differences from AWS corrected. Run as `python -m cellwave.sandbox.emulator`.

- An alarm compares the series of its own dimensions (MiniStack: of every dimension of that metric), period by
  period, on a clock (MiniStack: only when data arrives), and heeds `TreatMissingData`.
- A metric alarm tells when it last turned too (MiniStack: only when its state was last set).
- A Lambda sees the standard library and boto3 only. MiniStack would give it this program's own packages, and an
  installed package wins over a namespace package of the same name in the deployed zip.
- Every invocation counts in AWS/Lambda (MiniStack: only those of the Invoke API, not those that a queue or an HTTP
  API makes).
- What a Lambda logs in CloudWatch's embedded metric format becomes metrics.
- An API that the edge calls is found by the edge's word alone, and sees all that the client sent (edge/envelope.py).
- `PR(2900:)` of a metric is how many percent of its values are above 2900 (MiniStack: their average).
- It tells how slow it is itself (reference.py).
- What a role gave outlives this process (MiniStack: from then on it is of the default account, where nothing is).
- Without a session token a Lambda has none (MiniStack: an empty one, which boto3 puts into POST policies).
"""

from __future__ import annotations

import json
import operator
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import Any

from hypercorn.config import Config
from ministack import app  # type: ignore[import-untyped]
from ministack.core import lambda_runtime  # type: ignore[import-untyped]
from ministack.core.responses import request_scope  # type: ignore[import-untyped]
from ministack.services import cloudwatch, lambda_svc, sts  # type: ignore[import-untyped]

from cellwave.sandbox.edge import envelope
from cellwave.sandbox.reference import Reference

REFERENCE = Reference()
LAMBDA_PACKAGES = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")
EVALUATE_EVERY_S = 1.0
# How long an answered invocation is held back for the handler's log lines: for the first, after the last, at most.
# MiniStack waits 50 ms for a first line, so every quiet handler would take that long.
LOG_WAITS_S = (0.003, 0.002, 0.1)

COMPARE = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
ABOVE = re.compile(r"PR\(([0-9.]+):\)")
WITHOUT_DATA = {"breaching": "ALARM", "notBreaching": "OK", "missing": "INSUFFICIENT_DATA"}


def main() -> None:
    """Serve until SIGTERM; GATEWAY_PORT, STATE_DIR and the like come from the environment, as MiniStack reads them."""
    sys.executable = str(lambda_python(Path(os.environ["TMPDIR"])))
    cloudwatch._evaluate_alarm = evaluate
    cloudwatch._stat_value = partial(with_rank, cloudwatch._stat_value)
    note_turns()
    count_invocations()
    open_envelopes()
    sts.get_state = lambda: dict(sts._sessions)
    sts.load_persisted_state = sts._sessions.update
    lambda_svc._LAMBDA_STATE_TRANSITION_DELAY = 0.02  # half a second a function otherwise, for show
    lambda_runtime.Worker._drain_stderr_bounded.__defaults__ = LOG_WAITS_S
    threading.Thread(target=_keep_evaluating, daemon=True).start()
    REFERENCE.start()
    sys.argv[1:] = []
    app.main()


def with_rank(known: Callable[..., Any], stats: Any, name: str, points: Any = None) -> Any:
    """A statistic of a period's points: how many percent of them are above a value, or one that is `known`."""
    above = ABOVE.fullmatch(name or "")
    if above is None:
        return known(stats, name, points)
    samples = cloudwatch._percentile_samples(points or [])
    if samples is None:
        return None
    return 100 * sum(n for value, n in samples if value > float(above[1])) / sum(n for _, n in samples)


def note_turns() -> None:
    """Keep with every alarm when it turned, wherever a turn is put into its history."""
    record = cloudwatch._record_history

    def noted(name: str, *turn: Any, **more: Any) -> None:
        alarm = cloudwatch._alarms.get(name) or cloudwatch._composite_alarms.get(name)
        if alarm:
            alarm["StateTransitionedTimestamp"] = int(time.time())
        record(name, *turn, **more)

    cloudwatch._record_history = noted


def count_invocations() -> None:
    """Publish AWS/Lambda metrics where every invocation passes, and no longer where only some do."""
    execute, emit = lambda_svc._execute_function, lambda_svc._emit_lambda_metrics

    def counted(function: dict[str, Any], event: Any) -> Any:
        config = function.get("config") or function
        if lambda_svc._function_config_scope_mismatch(config):
            return execute(function, event)  # comes back here in the function's own account and region
        REFERENCE.touch(config["FunctionName"])
        started = time.time()
        result = execute(function, event)
        emit(
            config["FunctionName"],
            duration_ms=(time.time() - started) * 1000,
            error=bool(result.get("error")),
            throttle=bool(result.get("throttle")),
        )
        for metric in embedded_metrics(str(result.get("log") or "")):
            cloudwatch.record_metric(*metric)
        return result

    lambda_svc._execute_function = counted
    lambda_svc._emit_lambda_metrics = lambda *_, **__: None


def open_envelopes() -> None:
    """Give an API that is being called the client's headers, once the edge's have said whose API it is."""
    Config.h11_max_incomplete_size = 64 * 1024
    handle = app._handle_execute_api_request

    def opened(host: str, path: str, method: str, headers: dict[str, str], *rest: Any, **named: Any) -> Any:
        return handle(host, path, method, envelope.opened(headers), *rest, **named)

    app._handle_execute_api_request = opened


def embedded_metrics(log: str) -> list[tuple[str, str, float, str, dict[str, str]]]:
    """The metrics (namespace, name, value, unit, dimensions) in a log's lines of embedded metric format.

    Format: AWS, "Specification: CloudWatch embedded metric format"; values that are lists are not supported.
    """
    found = []
    for line in log.splitlines():
        start = line.find("{")
        if start < 0 or '"_aws"' not in line:
            continue
        try:
            entry = json.loads(line[start:])
            directives = entry["_aws"]["CloudWatchMetrics"]
        except (ValueError, KeyError, TypeError):
            continue
        for directive in directives:
            for names in directive["Dimensions"]:
                dimensions = {name: str(entry[name]) for name in names}
                found += [
                    (
                        directive["Namespace"],
                        m["Name"],
                        float(entry[m["Name"]]),
                        m.get("Unit", "None"),
                        dimensions,
                    )
                    for m in directive["Metrics"]
                ]
    return found


def lambda_python(folder: Path) -> Path:
    """Make a Python in `folder` that has the standard library and boto3 only; its path."""
    packages = folder / "lambda-packages"
    packages.mkdir(parents=True, exist_ok=True)
    for name in LAMBDA_PACKAGES:
        _link_module(name, packages)
    script = folder / "lambda-python"
    script.write_text(
        "#!/bin/sh\n"
        '[ -n "$AWS_SESSION_TOKEN" ] || unset AWS_SESSION_TOKEN\n'
        f'PYTHONPATH={quote(str(packages))} exec {quote(sys.executable)} -S "$@"\n'
    )
    script.chmod(0o700)
    return script


def _link_module(name: str, packages: Path) -> None:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return
    source = Path(spec.origin)
    target = source.parent if source.name == "__init__.py" else source
    link = packages / target.name
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def evaluate(alarm: dict[str, Any]) -> None:
    """Set a metric alarm's state from its last `EvaluationPeriods` periods, counted back from now."""
    if not alarm.get("MetricName") or alarm.get("ComparisonOperator") not in COMPARE:
        return
    state, reason = judge(alarm, _points(alarm), time.time())
    old = alarm["StateValue"]
    if state == old:
        return
    alarm.update(StateValue=state, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    cloudwatch._record_history(alarm["AlarmName"], old, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, old, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def _points(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    dimensions = {d["Name"]: d["Value"] for d in alarm.get("Dimensions") or []}
    key = (alarm.get("Namespace"), alarm.get("MetricName"), cloudwatch._dims_key(dimensions))
    return cloudwatch._metrics.get(key) or []


def judge(alarm: dict[str, Any], points: list[dict[str, Any]], now: float) -> tuple[str, str]:
    """The state that the points call for, and why."""
    period, count = alarm.get("Period", 60), alarm.get("EvaluationPeriods", 1)
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    values = []
    for index in range(count):
        end = now - index * period
        inside = [p for p in points if end - period < p["Timestamp"] <= end]
        if inside:
            value = cloudwatch._stat_value(cloudwatch._calc_stats(inside), statistic, inside)
            values += [] if value is None else [value]
    treat = alarm.get("TreatMissingData") or "missing"
    if not values:
        return WITHOUT_DATA.get(treat, alarm["StateValue"]), "No datapoints were received"
    breaches = COMPARE[alarm["ComparisonOperator"]]
    breaching = [value for value in values if breaches(value, alarm["Threshold"])]
    missing = count - len(values) if treat == "breaching" else 0
    state = "ALARM" if len(breaching) + missing >= (alarm.get("DatapointsToAlarm") or count) else "OK"
    return (
        state,
        f"Threshold Crossed: {statistic} {values} {alarm['ComparisonOperator']} {alarm['Threshold']}",
    )


def _keep_evaluating() -> None:
    while True:
        time.sleep(EVALUATE_EVERY_S)
        if app._MAIN_LOOP is not None:
            app._MAIN_LOOP.call_soon_threadsafe(_evaluate_everywhere)


def _evaluate_everywhere() -> None:
    for (account, region, _), alarm in list(cloudwatch._alarms._data.items()):
        with request_scope(account, region):
            evaluate(alarm)


if __name__ == "__main__":
    main()
