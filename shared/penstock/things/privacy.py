"""Privacy rules as SQL: which things somebody may find, change and delete, and which of their fields that one sees.

*Model.* A rule holds for a thing if all its conditions do; they are about This Thing and the Current User. A person may
do with a thing what any rule that holds for it grants; where none holds, what `everyone` may (Bubble's "everyone
else"). A type without rules can be found and seen by all; a change through the API has to be granted by a rule.

*Guarantees.* What is not granted does not show: not in results, counts or sums, nor in what is found by a constraint or
in what order. Whatever cannot be decided does not hold: a condition on a member of the user that is empty (two empty
values are not the same thing), a value that does not fit its field, an expression that fails.

*Cost.* Conditions on the user alone are decided before the statement is made. Types without rules, and those who see
everything, have the same statements as if there were no rules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from pydantic import JsonValue, TypeAdapter

from penstock import exact_json
from penstock.definitions.models import DataField, DataType, PrivacyRule
from penstock.expressions import Expression, ExpressionError, Template, compile_expression, compile_template
from penstock.things.clauses import Condition, Constraint, ConstraintProblem, compile_constraint, find_constrained

Thing = dict[str, JsonValue]
ALWAYS: Final = "true"
NEVER: Final = "false"
_WANTED: Final = TypeAdapter(list[tuple[str, str, JsonValue]])
_NOTHING: Final = PrivacyRule(name="everyone")
_OPEN: Final = PrivacyRule(name="everyone", find=True, view="all")


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: somebody who sees everything, the user of an app (the thing, with all its fields), or, with neither,
    a stranger. `now` is the time that rules see.
    """

    sees_all: bool = False
    user: Mapping[str, JsonValue] | None = None
    now: str | None = None

    def is_bound(self, data_type: DataType) -> bool:
        """Whether rules of the type restrict what this one sees."""
        return bool(data_type.privacy) and not self.sees_all


EVERYTHING: Final = Viewer(sees_all=True)
STRANGER: Final = Viewer()


class _Active(NamedTuple):
    """A rule that may hold for some things, and what they have to meet; for all things, if nothing."""

    rule: PrivacyRule
    constraints: tuple[Constraint, ...]


class Guards:
    """The rules of a type, for a viewer, as parts of one statement. What is used of them is bound to `condition`, once,
    when it is first used.
    """

    def __init__(self, condition: Condition, data_type: DataType, viewer: Viewer) -> None:
        self._condition = condition
        self._data_type = data_type
        self._active = [
            active for active in _find_active(data_type, viewer) if _is_valid(data_type, active.constraints)
        ]
        self._compiled: dict[int, str] = {}
        others = _NOTHING if data_type.privacy else _OPEN
        self._others = next((rule for rule in data_type.privacy if is_for_everyone(rule)), others)

    def granting(self, grants: Callable[[PrivacyRule], bool]) -> str:
        """SQL that holds for the things of which a rule that holds grants something; ALWAYS, NEVER, or a condition of
        the row, which may be null where it does not hold.
        """
        granting = [index for index, active in enumerate(self._active) if grants(active.rule)]
        denying = [index for index, active in enumerate(self._active) if not grants(active.rule)]
        if any(not self._active[index].constraints for index in granting):
            return ALWAYS
        # Where no rule holds, the one for everyone does: a OR (NOT a AND NOT b) is a OR NOT b.
        with_others = grants(self._others) and all(self._active[index].constraints for index in denying)
        if with_others and not denying:
            return ALWAYS
        alternatives = [self._sql(index) for index in granting]
        if with_others:
            alternatives.append(" AND ".join(f"{self._sql(index)} IS NOT TRUE" for index in denying))
        return f"({' OR '.join(alternatives)})" if alternatives else NEVER

    @property
    def findable(self) -> str:
        """SQL, as of `granting`: which things can be found."""
        return self.granting(lambda rule: rule.find)

    def sees(self, known: DataField) -> str:
        """SQL, as of `granting`: of which things the field can be seen."""
        return ALWAYS if known.name == "_id" else self.granting(lambda rule: _shows(rule, known.name))

    def masked(self, known: DataField, value: str) -> str:
        """`value`, SQL that gives the field, where it can be seen; elsewhere null."""
        seen = self.sees(known)
        return value if seen == ALWAYS else "NULL" if seen == NEVER else f"CASE WHEN {seen} THEN {value} END"

    @property
    def held(self) -> str:
        """SQL that gives an array: which rules hold for a row, for `show`."""
        held = (f"{self._sql(index)} IS TRUE" for index in range(len(self._active)))
        return f"ARRAY[{', '.join(held)}]::boolean[]"

    def show(self, thing: Thing, held: Sequence[bool]) -> Thing:
        """The thing with the fields that can be seen, and its `_id`."""
        rules = [active.rule for active, holds in zip(self._active, held, strict=True) if holds] or [self._others]
        if any(rule.view == "all" for rule in rules):
            return thing
        return {
            name: value for name, value in thing.items() if name == "_id" or any(name in rule.view for rule in rules)
        }

    def _sql(self, index: int) -> str:
        """What the things that a rule holds for have to meet."""
        known = self._compiled.get(index)
        if known is None:
            clauses = _compile(self._condition, self._data_type, self._active[index].constraints)
            known = self._compiled[index] = f"({' AND '.join(clauses) or ALWAYS})"
        return known


def is_for_everyone(rule: PrivacyRule) -> bool:
    """Whether the rule has no conditions."""
    return rule.when is None and rule.users is None


def _shows(rule: PrivacyRule, name: str) -> bool:
    return rule.view == "all" or name in rule.view


def _compile(condition: Condition, data_type: DataType, constraints: Sequence[Constraint]) -> list[str]:
    return [
        compile_constraint(condition, data_type, find_constrained(data_type, wanted.key), wanted)
        for wanted in constraints
    ]


def _is_valid(data_type: DataType, constraints: Sequence[Constraint]) -> bool:
    try:
        _compile(Condition(), data_type, constraints)
    except ConstraintProblem:
        return False
    return True


def _find_active(data_type: DataType, viewer: Viewer) -> list[_Active]:
    scope: dict[str, JsonValue] = {"user": None if viewer.user is None else {**viewer.user}, "now": viewer.now}
    found = []
    for rule in data_type.privacy:
        if is_for_everyone(rule) or (rule.users is not None and not _is_for(rule.users, scope)):
            continue
        constraints = _evaluate(rule, scope)
        if constraints is not None:
            found.append(_Active(rule, constraints))
    return found


def _is_for(condition: str, scope: Mapping[str, JsonValue]) -> bool:
    try:
        return _compile_condition(condition).evaluate(scope) is True
    except ExpressionError:
        return False


def _evaluate(rule: PrivacyRule, scope: Mapping[str, JsonValue]) -> tuple[Constraint, ...] | None:
    """The constraints of a rule with their values; None where it cannot hold."""
    wanted: list[JsonValue] = []
    if isinstance(rule.when, dict):
        wanted += [[key, "equals", value] for key, value in rule.when.items()]
    elif rule.when is not None:
        wanted += [[condition.key, condition.constraint_type, condition.value] for condition in rule.when]
    constraints = []
    try:
        for key, kind, template in _compile_when(exact_json.dumps(wanted)):
            value = template.evaluate(scope)
            if not template.is_constant and (value is None or (isinstance(value, list) and None in value)):
                return None
            constraints.append(Constraint(key, kind, value))
    except ExpressionError:
        return None
    return tuple(constraints)


@lru_cache(maxsize=2_000)
def _compile_condition(source: str) -> Expression:
    return compile_expression(source)


@lru_cache(maxsize=2_000)
def _compile_when(when: bytes) -> tuple[tuple[str, str, Template], ...]:
    """Key, constraint type and template of the value of each condition of a rule."""
    return tuple((key, kind, compile_template(value)) for key, kind, value in _WANTED.validate_json(when))
