"""Required parameters of workflows that nobody calls: a webhook, a tick, a change or the end of a run gives none, so
they are null there, and a use that does not ask for that is warned of.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from penstock.expressions import Reference
from penstock.reading.places import Place, Report

_ASKED: Final = re.compile(
    r"\bparams\.(\w+)\s*(?:\?\?|[!=]=\s*null\b)|\bnull\s*[!=]=\s*params\.(\w+)|\b(request)\s*!=\s*null\b"
)


@dataclass(frozen=True, slots=True)
class Nullable:
    """The names of the required parameters that may be null at some place, and where they are used, by name: the places
    are gathered while a workflow is read.
    """

    names: frozenset[str] = frozenset()
    uses: dict[str, list[Place]] = field(default_factory=dict)

    def where(self, condition: str) -> "Nullable":
        """The same where a condition is met: without those that it asks for, `params.name != null`."""
        return replace(self, names=self.names - self._asked(condition)) if self.names else self

    def note(self, source: str, references: Iterable[Reference], locate: Callable[[int], Place]) -> None:
        """Notes what the expression `source` uses; `locate` gives the place of an offset."""
        if not self.names:
            return
        asked = self._asked(source)
        for path, offset in references:
            if path[0] == "params" and path[1:] and path[1] in self.names - asked:
                self.uses.setdefault(path[1], []).append(locate(offset))

    def warn(self, starters: Sequence[str], instead: str, report: Report) -> None:
        """One warning for each parameter, at its first use; `starters` start runs without parameters."""
        for name, places in self.uses.items():
            more = f" (and used in {len(places) - 1} more places)" if len(places) > 1 else ""
            message = f"params.{name} is null in runs that {_list(starters)} starts{more}"
            hint = f"write params.{name} ?? …, or a condition such as when: params.{name} != null{instead}"
            report.warning(places[0], message, hint, is_exact=True)

    def _asked(self, source: str) -> frozenset[str]:
        found = _ASKED.findall(source)
        return self.names if any(called for *_, called in found) else frozenset(a or b for a, b, _ in found)


def _list(starters: Sequence[str]) -> str:
    return ", ".join(starters[:-1]) + " or " * (len(starters) > 1) + starters[-1]
