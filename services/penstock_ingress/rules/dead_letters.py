"""What is sent to the management API about dead letters."""

from pydantic import Field

from penstock.domain.dead_letters import MAX_NOTE, LetterFilter, LetterKind
from penstock_ingress.rules.management import Given, Moment, Storable


class LetterNote(Given):
    """Why a dead letter is retried, discarded or resolved. The body may be left out."""

    note: Storable | None = Field(default=None, max_length=MAX_NOTE, description="For people: why")


class LetterChoice(Given):
    """Which open dead letters; an empty filter only with `all`."""

    kind: LetterKind | None = None
    workflow: Storable | None = Field(default=None, min_length=1, max_length=200, description="Only of its runs")
    queue: Storable | None = Field(
        default=None, min_length=1, max_length=255, description="Only messages that came from this queue"
    )
    contains: Storable | None = Field(
        default=None, min_length=1, max_length=1000, description="Only with this text in their reason"
    )
    since: Moment | None = Field(default=None, description="Only those first seen from then on")
    until: Moment | None = Field(default=None, description="Only those first seen before")
    note: Storable | None = Field(default=None, max_length=MAX_NOTE, description="For people: why")
    all: bool = Field(default=False, description="Without any filter: really all of them")

    def of(self, environment: str) -> LetterFilter:
        """The same as a filter."""
        return LetterFilter(
            environment, self.kind, None, self.workflow, self.queue, self.contains, self.since, self.until
        )
