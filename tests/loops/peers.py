"""What others would do with a loop by the rules that they have published, each at its default settings.

A rule is a pure function of the path of a loop's deepest run: which hop it would not let happen. What a platform has no
counterpart for, or says nothing about, is `SILENT`; it is counted neither for nor against it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from typing import Final, NamedTuple

from tests.loops.corpus import Hop, Link


class Ruling(Enum):
    """What becomes of a loop that is not cut at a hop."""

    RUNS = "runs"
    SILENT = "not said"


class Path(NamedTuple):
    """The workflow that begins, the hops below it (very many, if there is no end), and how long after the hop before
    each one that waits is due.
    """

    root: str
    hops: Sequence[Hop]
    every: timedelta

    def times(self) -> list[timedelta]:
        """When each hop happens, counted from the root."""
        at, found = timedelta(0), list[timedelta]()
        for hop in self.hops:
            at += self.every if hop.link in {"delayed", "recurrence"} else timedelta(0)
            found.append(at)
        return found


Verdict = Ruling | int
"""Or the hop that is cut, counted from 1."""

BUBBLE_DEPTH: Final = 10
BUBBLE_CALLS: Final[Mapping[Link, int]] = {"http": 3, "other": 10}
LAMBDA_INVOCATIONS: Final = 16
LAMBDA_QUEUE_DELAY: Final = timedelta(minutes=15)
ELASTIC_DEPTH: Final = 10
DATAVERSE_DEPTH: Final = 8
DATAVERSE_WINDOW: Final = timedelta(hours=1)


def bubble(path: Path) -> Verdict:
    """Bubble: a scheduled run deeper than the app's limit (10 unless it is changed, for all workflows at once) is
    terminated; an app that calls its own workflow API gets 3 deep, through another app and back 10; changes made by a
    database trigger's run fire no trigger. It says nothing of depth through triggers, and has no messages and no events
    of runs.

    manual.bubble.io: Infinite recursion protection; Hard limits; Trigger event.
    """
    depth, calls = 0, Counter[Link]()
    is_change = False
    for number, hop in enumerate(path.hops, start=1):
        if hop.link == "change":
            if is_change:
                return number
        elif hop.link in BUBBLE_CALLS:
            calls[hop.link] += 1
            if calls[hop.link] > BUBBLE_CALLS[hop.link]:
                return number
        elif hop.link in {"schedule", "delayed", "list"}:
            depth += 1
            if depth > BUBBLE_DEPTH:
                return number
        else:
            return Ruling.SILENT
        if is_change and hop.link != "change":
            return Ruling.SILENT  # whether the count is kept through a trigger is not said
        is_change = hop.link == "change"
    return Ruling.RUNS


def aws_lambda(path: Path) -> Verdict:
    """AWS Lambda: a function that was invoked about 16 times in one chain of requests is not invoked again. The chain
    is followed through SQS, SNS, S3 and invocations by Lambda; not through DynamoDB, HTTP or schedulers. A message may
    wait 15 minutes in SQS, so whatever is due later needs a scheduler.

    docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html; SQS: DelaySeconds.
    """
    invoked = Counter([path.root])
    for number, hop in enumerate(path.hops, start=1):
        if hop.link in {"event", "message"}:
            return Ruling.SILENT  # neither destinations for failures nor services between two functions are mentioned
        is_followed = hop.link in {"schedule", "list"} or (hop.link == "delayed" and path.every <= LAMBDA_QUEUE_DELAY)
        if not is_followed:
            invoked.clear()
        elif invoked[hop.workflow] >= LAMBDA_INVOCATIONS:
            return number
        invoked[hop.workflow] += 1
    return Ruling.RUNS


def elastic(path: Path) -> Verdict:
    """Elastic Workflows: an event that a run has caused starts no workflow that is already on its chain (`avoid-loop`,
    the default), and none deeper than 10. The chain is followed through requests to Kibana itself. Whatever leads from
    one run to the next within the platform is taken for an event here.

    elastic/kibana pull requests 258370 and 260656; `on.workflowEvents`, `eventDriven.maxChainDepth`.
    """
    chain = {path.root}
    for number, hop in enumerate(path.hops, start=1):
        if hop.link in {"other", "message", "recurrence"}:
            chain = set()
        if hop.workflow in chain or len(chain) > ELASTIC_DEPTH:
            return number
        chain.add(hop.workflow)
    return Ruling.RUNS


def dataverse(path: Path) -> Verdict:
    """Dataverse: an operation that one of a plug-in or workflow causes is one deeper than that, the first being 1;
    beyond 8 within an hour it is taken for a loop. What leaves the platform and comes back begins again.

    learn.microsoft.com: IExecutionContext.Depth.
    """
    within = [timedelta(0)]
    for number, (hop, at) in enumerate(zip(path.hops, path.times(), strict=True), start=1):
        if hop.link in {"http", "other", "message", "recurrence"}:
            within = []
        within = [*(earlier for earlier in within if at - earlier < DATAVERSE_WINDOW), at]
        if len(within) > DATAVERSE_DEPTH:
            return number
    return Ruling.RUNS


PEERS: Final[Mapping[str, Callable[[Path], Verdict]]] = {
    "Bubble": bubble,
    "AWS Lambda": aws_lambda,
    "Elastic Workflows": elastic,
    "Dataverse": dataverse,
}
