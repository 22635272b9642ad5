"""What INTERFACE describes and this version does not perform yet. It is refused with its place, never silently
accepted.
"""

from typing import Final

from penstock.reading.places import Place, Report

UNAVAILABLE: Final[dict[str, frozenset[str]]] = {
    "key": frozenset(),
    "trigger": frozenset(),
    "action": frozenset(),
    "constraint_type": frozenset(),
    "name": frozenset(),
}
"""By what it is: a key of app.yaml or of a workflow, a trigger, an action, a constraint, a name in expressions."""


def refuse_unavailable(report: Report, place: Place, kind: str, name: str) -> bool:
    """Reports `action 'wait' is not available in this version` and says so, if that is the case."""
    if name not in UNAVAILABLE[kind]:
        return False
    report.error(place, f"{kind} {name!r} is not available in this version")
    return True
