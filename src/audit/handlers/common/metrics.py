"""Counts for CloudWatch in its embedded metric format: a line of the log; nothing is called."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping

from audit.handlers.common.aws import setting, staged


def publish(counts: Mapping[str, int], application: str = "") -> None:
    """Count in the namespace `Audit` with the dimension `Service`, and beside that by application when one is given.

    A rehearsal's own work does not count. There are as many metrics as applications, which only a key of the control
    plane makes one of; never one for each tenant.
    """
    if staged():
        return
    names = [{"Name": name, "Unit": "Count"} for name in counts]
    by = [["Service"], ["Service", "Application"]] if application else [["Service"]]
    about = {"Namespace": "Audit", "Dimensions": by, "Metrics": names}
    metadata = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [about]}
    told = {"Service": setting("SERVICE"), **({"Application": application} if application else {})}
    print(json.dumps({"_aws": metadata, **told, **counts}), file=sys.stderr)
