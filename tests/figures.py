"""What `/metrics` says, for tests."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

METRICS_TOKEN = "for-the-monitoring-system"
SHOWN = {"Authorization": f"Bearer {METRICS_TOKEN}"}


class Figures:
    """One scrape."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.text = text
        self.samples: list[Sample] = [sample for family in families for sample in family.samples]
        self.counters = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families
            if family.type in {"counter", "histogram"}
            for sample in family.samples
        }

    def value(self, name: str, **labels: Any) -> float:
        """The sum of the samples of that name with at least these labels; fails where there is none."""
        found = [
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        ]
        assert found, f"no {name} {labels}"
        return sum(found)

    def by(self, name: str, label: str, **labels: Any) -> dict[str, float]:
        """The samples of that name that are not 0, summed by a label."""
        sums: dict[str, float] = {}
        for sample in self.samples:
            if sample.name == name and labels.items() <= sample.labels.items() and sample.value:
                sums[sample.labels[label]] = sums.get(sample.labels[label], 0) + sample.value
        return sums


def scrape(service: Any) -> Figures:
    """The deployed service's figures."""
    answer = service.client.get("/metrics", headers=SHOWN)
    assert answer.status_code == 200, answer.text
    return Figures(answer.text)
