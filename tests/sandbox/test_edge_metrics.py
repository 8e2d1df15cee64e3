"""What the edge publishes."""

from __future__ import annotations

from collections import Counter

from cellwave.sandbox.edge.metrics import VALUES_PER_DATUM, Api, Tally, metric_data

API = Api(account="200000000001", region="ap-south-1", id="abc")


def test_every_request_is_a_sample() -> None:
    """Sum of 5xx is the number of errors and its average the rate, as on AWS."""
    tally = Tally(count=10, client_errors=0, server_errors=3, latencies=Counter({5.0: 10}))
    data = {datum["MetricName"]: datum for datum in metric_data({(API, 1700000000): tally})}
    assert (data["5xx"]["Values"], data["5xx"]["Counts"]) == ([1.0, 0.0], [3.0, 7.0])
    assert (data["4xx"]["Values"], data["4xx"]["Counts"]) == ([0.0], [10.0])
    assert (data["Count"]["Values"], data["Count"]["Counts"]) == ([1.0], [10.0])
    assert (data["Latency"]["Values"], data["Latency"]["Counts"]) == ([5.0], [10.0])
    assert {datum["Timestamp"].timestamp() for datum in data.values()} == {1700000000}
    assert all(datum["Dimensions"] == [{"Name": "ApiId", "Value": "abc"}] for datum in data.values())


def test_no_datum_holds_more_values_than_cloudwatch_takes() -> None:
    """Many different latencies become several data that together hold each of them."""
    tally = Tally(count=400, latencies=Counter({float(n): 1 for n in range(400)}))
    latencies = [d["Values"] for d in metric_data({(API, 0): tally}) if d["MetricName"] == "Latency"]
    assert all(len(values) <= VALUES_PER_DATUM for values in latencies)
    assert sorted(v for values in latencies for v in values) == [float(n) for n in range(400)]
