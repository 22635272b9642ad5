"""A small controller that scales executors as KEDA and the autoscaler of Kubernetes do, by the rule in `deploy/`."""

import asyncio
import math
import re
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.installation import Installation, Service
from tests.deploy.documents import read_documents

RULES: Final = Path(__file__).parents[2] / "deploy/kubernetes/overlays/production/scaling.yaml"
_PART: Final = re.compile(r"\b(max|sum)\((\w+)\{([^}]*)\}\)")
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
_POD: Final = {"namespace": "penstock", "penstock_dev_lane": "interactive"}
"""What the monitors of the deployment add to the figures of each pod."""
_PATIENCE: Final = aiohttp.ClientTimeout(total=5)


@dataclass(frozen=True, slots=True)
class Sample:
    """A figure of one process."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Rule:
    """A ScaledObject, as far as it says how many replicas there are to be; times in seconds."""

    query: str
    threshold: float
    up_percent: int
    up_pods: int
    up_seconds: float
    down_percent: int
    down_seconds: float
    stable_seconds: float


def read_rule(name: str = "penstock-executor") -> Rule:
    """The rule of that name in the production overlay, and its trigger `work`."""
    documents: Iterable[Any] = read_documents(RULES.read_text("utf-8"))
    (spec,) = (one["spec"] for one in documents if one["kind"] == "ScaledObject" and one["metadata"]["name"] == name)
    (work,) = (one["metadata"] for one in spec["triggers"] if one["name"] == "work")
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    up = {one["type"]: one for one in behavior["scaleUp"]["policies"]}
    (down,) = behavior["scaleDown"]["policies"]
    return Rule(
        work["query"], float(work["threshold"]), up["Percent"]["value"], up["Pods"]["value"],
        up["Pods"]["periodSeconds"], down["value"], down["periodSeconds"],
        behavior["scaleDown"]["stabilizationWindowSeconds"],
    )  # fmt: skip


def evaluate(query: str, samples: Iterable[Sample]) -> float:
    """The value of a query that adds `max(…)` and `sum(…)` of metrics, each 0 where there is none."""
    known = list(samples)
    value = 0.0
    for how, name, labels in _PART.findall(query):
        wanted = dict(_LABEL.findall(labels))
        found = [one.value for one in known if one.name == name and wanted.items() <= one.labels.items()]
        value += max(found, default=0.0) if how == "max" else sum(found)
    return value


@dataclass(slots=True)
class Decisions:
    """How many replicas there are to be, from `least` to `most`, decided again and again as the rule says."""

    rule: Rule
    least: int
    most: int
    _wished: list[tuple[float, int]] = field(default_factory=list)
    _changed: list[tuple[float, int]] = field(default_factory=list)

    def decide(self, value: float, replicas: int, now: float) -> int:
        """The next number of replicas, at `now` in seconds, where there are `replicas` and the query has `value`."""
        rule = self.rule
        wished = min(max(math.ceil(value / rule.threshold), self.least), self.most)
        self._wished = [(at, one) for at, one in self._wished if at > now - rule.stable_seconds] + [(now, wished)]
        if wished > replicas:
            before = replicas - self._sum_since(now - rule.up_seconds, 1)
            target = min(wished, max(before + rule.up_pods, before * (100 + rule.up_percent) // 100))
        else:
            before = replicas - self._sum_since(now - rule.down_seconds, -1)
            stable = min(max(one for _, one in self._wished), replicas)
            target = max(stable, before * (100 - rule.down_percent) // 100, self.least)
            target = min(target, replicas)
        if target != replicas:
            self._changed.append((now, target - replicas))
        return target

    def _sum_since(self, since: float, sign: int) -> int:
        return sum(change for at, change in self._changed if at > since and change * sign > 0)


@dataclass(slots=True)
class Autoscaler:
    """Keeps the executors of an installation at the number that the decisions ask for.

    `most_ready` is the highest number of them that were ready at the same time, `exits` are the exit codes of those
    that had been ready. One that leaves before it is ready, which happens to pods too, has performed nothing.
    """

    installation: Installation
    decisions: Decisions
    others: list[Service]
    begin: Callable[[], Awaitable[Service]]
    every_seconds: float
    replicas: list[Service] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    most_ready: int = 0
    is_stopped: bool = False
    _ready: set[int] = field(default_factory=set)

    async def run(self) -> None:
        """Look and decide until it is stopped; replicas that are taken away end their runs first."""
        async with asyncio.TaskGroup() as group:
            while not self.is_stopped:
                await self._note_ready()
                value = evaluate(self.decisions.rule.query, await self._scrape())
                wanted = self.decisions.decide(value, len(self.replicas), asyncio.get_running_loop().time())
                for gone in self.replicas[wanted:]:
                    group.create_task(self._stop(gone))
                del self.replicas[wanted:]
                added = [self.begin() for _ in range(wanted - len(self.replicas))]
                self.replicas += await asyncio.gather(*added)
                await asyncio.sleep(self.every_seconds)

    async def _note_ready(self) -> None:
        new = [one for one in self.replicas if one.process.pid not in self._ready]
        are_ready = await asyncio.gather(*(self.installation.is_ready(one) for one in new))
        self._ready |= {one.process.pid for one, is_ready in zip(new, are_ready, strict=True) if is_ready}
        self.most_ready = max(self.most_ready, sum(one.process.pid in self._ready for one in self.replicas))

    async def _stop(self, replica: Service) -> None:
        code = await replica.stop(within=300)
        if replica.process.pid in self._ready:
            self.exits.append(code)
        else:
            assert code in {0, -signal.SIGTERM}, f"it left before it was ready: {replica.log.read_text()[-2000:]}"

    async def _scrape(self) -> list[Sample]:
        samples: list[Sample] = []
        for service in [*self.others, *self.replicas]:
            text = ""
            # Of what is not there yet, or is too busy to answer, there are no figures.
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self.installation.http.get(f"{service.admin_url}/metrics", timeout=_PATIENCE) as response:
                    text = await response.text()
            for family in text_string_to_metric_families(text):
                samples += [Sample(one.name, {**one.labels, **_POD}, one.value) for one in family.samples]
        return samples
