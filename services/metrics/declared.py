"""What one metric is. Names are complete as Prometheus shows them: `unroll_`, base units, `_total` for counters."""

from typing import Literal, NamedTuple

Kind = Literal["gauge", "counter", "histogram"]
Teller = Literal["app", "sampler", "dispatcher", "each process"]


class Metric(NamedTuple):
    """One family. `labels` never hold text that a user wrote; `buckets` are the upper bounds of a histogram's."""

    name: str
    kind: Kind
    teller: Teller
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


# Upper bounds in seconds, for what takes from a moment to a day, what one waits for, and what a processor does.
HOURS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
MOMENTS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
