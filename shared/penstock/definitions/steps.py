"""The steps of a workflow, with those that stand inside others (`each`, `parallel`)."""

from collections.abc import Iterable, Iterator

from penstock.definitions.models import Step


def walk_steps(steps: Iterable[Step]) -> Iterator[Step]:
    """Every step, and behind it those inside it, however deep. One inside has the condition of the step around it where
    it has none of its own, and its reason (`recursion`), because it is reached only through that one.
    """
    for step in steps:
        yield step
        for block in step.blocks.values():
            for inner in walk_steps(block):
                yield inner.model_copy(
                    update={"when": inner.when or step.when, "recursion": inner.recursion or step.recursion}
                )
