"""Counts for CloudWatch in its embedded metric format: a line of the log; nothing is called."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping

from audit.handlers.common.aws import setting, staged


def publish(counts: Mapping[str, int]) -> None:
    """Count in the namespace `Audit` with the dimension `Service`; a rehearsal's own work does not count."""
    if staged():
        return
    names = [{"Name": name, "Unit": "Count"} for name in counts]
    about = {"Namespace": "Audit", "Dimensions": [["Service"]], "Metrics": names}
    metadata = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [about]}
    print(json.dumps({"_aws": metadata, "Service": setting("SERVICE"), **counts}), file=sys.stderr)
