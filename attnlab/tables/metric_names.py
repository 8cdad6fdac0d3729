"""Headings of metrics, and how many decimals a table shows."""

from attnlab.records import judgement

ERROR = "test/top1_error"
NAMES = {
    ERROR: "top-1 error %",
    "test/top5_error": "top-5 error %",
    "test/calibration_error": "calibration error",
    "test/loss": "test loss",
    "val/top1_error": "validation error %",
}


#: metrics in percent
PERCENT = tuple(name for name, heading in NAMES.items() if heading.endswith("%"))


def metric_name(metric: str) -> str:
    """A metric as a heading."""
    return judgement.heading(metric) if metric in judgement.METRICS else NAMES.get(metric, metric)


def decimals(metric: str) -> int:
    """Decimals of a metric in a table."""
    if metric in judgement.METRICS:
        return judgement.digits(metric)
    return 3 if metric == "test/calibration_error" else 2
