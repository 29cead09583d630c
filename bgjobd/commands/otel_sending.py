"""Sends spans to a collector by OpenTelemetry's SDK, an extra; where to, and how, says $OTEL_EXPORTER_OTLP_*."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from bgjobd.core.trace_spans import AttemptSpan, SpanPlace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

EXTRA: Final = "`bgjobd otel` takes OpenTelemetry's SDK, from the clone: pip install '.[otel]'"

_TAKEN: Final = range(200, 300)
_TOO_LARGE: Final = 413
_OF_THESE_SPANS: Final = frozenset({400, _TOO_LARGE, 422})
"""The answers of a collector that are about what it was sent; others, as 401, may be mended elsewhere."""

_SERVICE: Final = "bgjobd"
_LOGGER: Final = "opentelemetry"


class NotTakenError(Exception):
    """The collector has not taken spans; `is_final`: nor will it take these; `is_too_large`: not so many at once."""

    def __init__(self, reason: str, is_final: bool, is_too_large: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final
        self.is_too_large = is_too_large


class _LastWords(logging.Handler):
    """What the SDK logged last, which is all that it says of why."""

    text = "no reason is told"

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


class Collector:
    """Takes spans. Raises ModuleNotFoundError where the extra is not installed."""

    def __init__(self) -> None:
        import requests
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource

        self._status: int | None = None
        session = requests.Session()
        session.hooks["response"].append(self._note_status)
        self._exporter = OTLPSpanExporter(session=session)
        found = Resource.create()
        is_named = not str(found.attributes.get("service.name", "unknown_service")).startswith(
            "unknown_service"
        )
        self._resource = found if is_named else found.merge(Resource({"service.name": _SERVICE}))
        self._last_words = _LastWords(logging.WARNING)
        logger = logging.getLogger(_LOGGER)
        logger.addHandler(self._last_words)
        logger.propagate = False

    def _note_status(self, response: object, *_: object, **__: object) -> None:
        self._status = getattr(response, "status_code", None)

    def send(self, spans: Sequence[AttemptSpan]) -> None:
        """Returns once they are taken. Raises NotTakenError."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        self._status = None
        result = self._exporter.export([self._span(span) for span in spans])
        if result is not SpanExportResult.SUCCESS:
            raise NotTakenError(self._last_words.text, self._is_refused(), self._status == _TOO_LARGE)
        if self._status not in _TAKEN:  # as where it is elsewhere, which the SDK takes for success
            raise NotTakenError(f"it answered {self._status}", is_final=False)

    def _is_refused(self) -> bool:
        """Whether the collector was reached, and said that it will not take them."""
        return self._status in _OF_THESE_SPANS

    def _span(self, span: AttemptSpan) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import Link, SpanKind, Status, StatusCode

        status = Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error)
        return ReadableSpan(
            span.name,
            context=_context(span.place, is_remote=False),
            parent=None if span.parent is None else _context(span.parent, is_remote=True),
            resource=self._resource,
            attributes=span.attributes,
            links=[] if span.link is None else [Link(_context(span.link, is_remote=True))],
            kind=SpanKind.CONSUMER,
            status=status,
            start_time=span.start,
            end_time=span.end,
            instrumentation_scope=InstrumentationScope(_SERVICE),
        )


def _context(place: SpanPlace, is_remote: bool) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(int(place.trace, 16), int(place.span, 16), is_remote, TraceFlags(TraceFlags.SAMPLED))
