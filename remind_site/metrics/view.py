"""`GET /metrics`: for the monitoring system, which shows METRICS_TOKEN; closed where none is set."""

import os
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.http import HttpResponse
from django.utils.crypto import constant_time_compare
from drf_spectacular.utils import extend_schema
from prometheus_client import REGISTRY, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from rest_framework.request import Request

from licenses.errors import Forbidden, NotFound
from licenses.views import ApiView
from remind_site.metrics import database, process_files, sampler


class MetricsView(ApiView):
    """The figures of all web processes and of the database, in Prometheus' text format."""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        _check_token(request)
        sampler.sample()
        return HttpResponse(generate_latest(Everything()), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class Everything(Collector):
    """What all processes counted, and what is read now."""

    def collect(self) -> Iterator[Metric]:
        yield from _counted()
        yield from database.at_scrape()


def _check_token(request: Request) -> None:
    if not settings.METRICS_TOKEN:
        raise NotFound
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
        raise Forbidden("This needs the service's METRICS_TOKEN, as 'Authorization: Bearer <token>'.")


def _counted() -> Iterable[Metric]:
    """By all processes under gunicorn; else, in tests and under `runserver`, by this one."""
    if process_files.VARIABLE not in os.environ:
        return [metric for metric in REGISTRY.collect() if metric.name.startswith("remind_")]
    with process_files.reading() as files:
        return list(MultiProcessCollector.merge(files))
