"""The metrics of several processes as those of one service: each sample as it is, with a label for its process."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

LABEL: Final = "worker"


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def merge(texts: Mapping[str, str]) -> bytes:
    """The metrics of each process in Prometheus' text format, by the value of its label; together in the same format.

    A family stands in one place, however many have samples of it. https://prometheus.io/docs/instrumenting/exposition_formats
    """
    merged: dict[str, Metric] = {}
    for worker, text in texts.items():
        for family in text_string_to_metric_families(text):
            of = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                of.add_sample(sample.name, {**sample.labels, LABEL: worker}, sample.value)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(merged.values()))
    return generate_latest(registry)
