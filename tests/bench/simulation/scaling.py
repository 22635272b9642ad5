"""The rule by which executors are scaled, as deploy/ gives it to KEDA and Kubernetes."""

import math
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from ruamel.yaml import YAML

MANIFEST: Final = Path(__file__).parents[3] / "deploy" / "kubernetes" / "overlays" / "production" / "scaling.yaml"


@dataclass(frozen=True, slots=True)
class ScalingRule:
    """Figures of a ScaledObject. Durations are in seconds, growth and shrinkage in a period's share of the replicas."""

    fewest: int
    most: int
    interval: int
    runs_each: int
    oldest: int
    growth: float
    growth_pods: int
    shrink_after: int
    shrinkage: float
    shrink_period: int

    @classmethod
    def read(cls, name: str, *, most: int | None = None, path: Path = MANIFEST) -> Self:
        """The rule of the ScaledObject called `name`; `most` replaces its greatest number of replicas."""
        documents = YAML(typ="safe").load_all(path.read_text())
        spec = next(d["spec"] for d in documents if d["kind"] == "ScaledObject" and d["metadata"]["name"] == name)
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        up = {policy["type"]: policy["value"] for policy in behavior["scaleUp"]["policies"]}
        (down,) = behavior["scaleDown"]["policies"]
        work, age = spec["triggers"]
        return cls(
            fewest=spec["minReplicaCount"],
            most=most or spec["maxReplicaCount"],
            interval=spec["pollingInterval"],
            runs_each=int(work["metadata"]["threshold"]),
            oldest=int(age["metadata"]["threshold"]),
            growth=up["Percent"] / 100,
            growth_pods=up["Pods"],
            shrink_after=behavior["scaleDown"]["stabilizationWindowSeconds"],
            shrinkage=down["value"] / 100,
            shrink_period=down["periodSeconds"],
        )


@dataclass(slots=True)
class Autoscaler:
    """Decides how many replicas there are to be, at each look."""

    rule: ScalingRule
    replicas: int
    _wanted: deque[tuple[float, int]] = field(default_factory=deque)
    _shrunk_at: float = -math.inf

    def decide(self, *, now: float, runs: int, oldest: float) -> int:
        """The number of replicas from now on, given the runs that wait or are performed, and the oldest one's wait."""
        rule = self.rule
        by_work = math.ceil(runs / rule.runs_each)
        by_age = math.ceil(self.replicas * oldest / rule.oldest)
        wanted = min(max(by_work, by_age, rule.fewest), rule.most)
        self._wanted.append((now, wanted))
        while self._wanted[0][0] < now - rule.shrink_after:
            self._wanted.popleft()
        if wanted > self.replicas:
            room = max(math.ceil(self.replicas * rule.growth), rule.growth_pods)
            self.replicas = min(wanted, self.replicas + room)
        elif (steady := max(number for _, number in self._wanted)) < self.replicas:
            self._shrink(now, steady)
        return self.replicas

    def _shrink(self, now: float, steady: int) -> None:
        if now - self._shrunk_at >= self.rule.shrink_period:
            self._shrunk_at = now
            self.replicas = max(steady, self.replicas - math.ceil(self.replicas * self.rule.shrinkage))
