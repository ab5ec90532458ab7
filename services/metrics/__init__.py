"""Every metric of every process, declared once: name, kind, labels, a sentence with its unit, and who tells it.

The declarations know no values; `registry` makes prometheus_client's objects of them.
"""

from services.metrics import dispatcher, everywhere, queue, sampler, web
from services.metrics.declared import Metric

METRICS: tuple[Metric, ...] = tuple(
    value
    for declared in (queue, web, sampler, dispatcher, everywhere)
    for value in list(vars(declared).values())
    if isinstance(value, Metric)
)
