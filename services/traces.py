"""OpenTelemetry traces: a request, the job it submitted and the worker's run of it are one trace. Off by default.

On where OTEL_EXPORTER_OTLP_ENDPOINT names a collector; the specification's other OTEL_ variables are heeded too.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROPAGATOR = TraceContextTextMapPropagator()
_HEADER = "traceparent"


def configure_traces(process: str) -> None:
    """Sends the spans of this process to the collector, if one is named."""
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    export_to(process, OTLPSpanExporter())


def export_to(process: str, exporter: SpanExporter) -> TracerProvider:
    """Sends the spans of this process to `exporter`."""
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", f"unroll-{process}")})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


@contextmanager
def span(name: str, parent: str = "", attributes: Mapping[str, str | int] | None = None) -> Iterator[trace.Span]:
    """A span around the block: below `parent` (a traceparent), else below the present one. Costs nothing where off."""
    tracer = trace.get_tracer("unroll")
    above = _PROPAGATOR.extract({_HEADER: parent}) if parent else None
    with tracer.start_as_current_span(name, above, attributes=dict(attributes or {})) as opened:
        yield opened


def present_traceparent() -> str:
    """What names the present span to another process; empty where there is none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(_HEADER, "")
