"""In what order things are found, and where the next page begins."""

import base64
from dataclasses import dataclass
from typing import Final, NamedTuple

from pydantic import JsonValue, TypeAdapter

from penstock import exact_json
from penstock.db import quote_identifier
from penstock.definitions.fields import BUILT_IN_FIELDS
from penstock.definitions.models import DataField, DataType, ScalarType
from penstock.things.clauses import ConstraintProblem, find_constrained, to_parameter
from penstock.things.constraints import Search, hidden
from penstock.things.geography import OutOfPlace, distance_sql, read_origin
from penstock.things.json import is_json
from penstock.things.privacy import ALWAYS, NEVER
from penstock.things.tables import sql_type
from penstock.things.values import may_exist

RANDOM: Final = "_random_sorting"
"""Sorted by it, things come in an order that is another one each time."""
_TOKEN: Final = TypeAdapter(tuple[str | None, str])
_ALWAYS_SET: Final = frozenset({"_id", "created_date", "modified_date"})
_ID, CREATED = BUILT_IN_FIELDS[:2]
_ONE_FIELD: Final = "pages by `after` are sorted by one field; leave out the further ones, or page by position"


@dataclass(frozen=True, slots=True)
class Order:
    """Sorted by a field, empty values last, then by id; None sorts by `Created Date`. `near` is the place by whose
    distance addresses are sorted.
    """

    sort: str | None = None
    descending: bool = False
    further: tuple[tuple[str, bool], ...] = ()
    near: JsonValue = None


BY_AGE: Final = Order()


@dataclass(frozen=True, slots=True)
class _Term:
    """One thing that is sorted by: SQL of a row `t`, and its field where it is the value of one."""

    sql: str
    descending: bool
    known: DataField | None = None
    is_always_set: bool = False
    is_indexed: bool = False

    @property
    def ordering(self) -> str:
        # Said where it matters only: an index read backwards has its empty values first, so it would not serve.
        nulls = "" if self.is_always_set else " NULLS LAST"
        return f"{self.sql} {'DESC' if self.descending else 'ASC'}{nulls}"


class Place(NamedTuple):
    """Behind which thing a page begins, as SQL: the value of what is sorted by (None: it has none), and the id."""

    value: str | None
    id: str


class Half(NamedTuple):
    """Some of the things of a search: SQL that holds for them, and their order."""

    condition: str
    order: str


class Ordering:
    """The order of a search, as SQL of a row `t`. Raises ConstraintProblem for what cannot be sorted by."""

    def __init__(self, search: Search, data_type: DataType, order: Order) -> None:
        sorts = [] if order.sort is None else [(order.sort, order.descending)]
        terms = [_compile(search, data_type, name, falls, order.near) for name, falls in (*sorts, *order.further)]
        self._terms = [term for term in terms if term is not None]
        if not self._terms:
            self._terms = [_by_age(search, order.descending and order.sort is None)]
        self._has_further = bool(order.further)

    @property
    def sql(self) -> str:
        """What stands behind ORDER BY."""
        return ", ".join((*(term.ordering for term in self._terms), 't."_id"'))

    @property
    def key(self) -> str:
        """SQL that gives what the first term of a row is, as text; for `token`."""
        return f"({self._terms[0].sql})::text"

    def token(self, key: str | None, last_id: JsonValue) -> str | None:
        """What asks for the things behind the last of a page; None where pages are by position only."""
        if self._has_further or self._terms[0].known is None:
            return None
        return base64.urlsafe_b64encode(exact_json.dumps([key, last_id])).decode().rstrip("=")

    def find_place(self, search: Search, after: str) -> Place:
        """What the `token` of a page says. Raises ConstraintProblem."""
        term = self._terms[0]
        if self._has_further:
            raise ConstraintProblem(_ONE_FIELD)
        if term.known is None:
            raise ConstraintProblem("things in a random order, or by their distance, have no pages by `after`")
        sort_key, last_id = _read_token(term.known, after)
        id_parameter = search.bind(last_id)
        if sort_key is None:
            return Place(None, id_parameter)
        return Place(f"{search.bind(sort_key)}::text::{sql_type(term.known.type)}", id_parameter)

    def behind(self, place: Place) -> str:
        """SQL that holds for the things behind this place."""
        term = self._terms[0]
        if place.value is None:
            return f'({term.sql} IS NULL AND t."_id" > {place.id})'
        sign = "<" if term.descending else ">"
        if term.is_always_set:
            return f"({_from_value(term, place.value, place.id)})"
        same = f'({term.sql} = {place.value} AND t."_id" > {place.id})'
        return f"({term.sql} {sign} {place.value} OR {same} OR {term.sql} IS NULL)"

    def halves(self, place: Place | None) -> tuple[Half, ...]:
        """Things with a value and things without one apart, where an index serves both, and not the two together: it
        has empty values first when it is read backwards, and has no place in the middle of an OR. None otherwise.
        """
        term = self._terms[0]
        if not term.is_indexed or self._has_further or (place is None and not term.descending):
            return ()
        without = Half(f"{term.sql} IS NULL", 't."_id"')
        if place is not None and place.value is None:
            return (Half(self.behind(place), without.order),)
        condition = f"{term.sql} IS NOT NULL"
        if place is not None and place.value is not None:
            condition = _from_value(term, place.value, place.id)
        return Half(condition, f'{term.sql} {"DESC" if term.descending else "ASC"}, t."_id"'), without


def _from_value(term: _Term, value: str, id: str) -> str:
    """SQL that holds for the things behind this value and id, in a form that an index serves."""
    sign = "<" if term.descending else ">"
    return f'{term.sql} {sign}= {value} AND ({term.sql} {sign} {value} OR t."_id" > {id})'


def _by_age(search: Search, descending: bool) -> _Term:
    """The order where none is asked for: by age. Ids begin with the time, too, for those who may not see the date."""
    sees_date = search.guards is None or search.guards.sees(CREATED) == ALWAYS
    known = CREATED if sees_date else _ID
    return _Term(f"t.{quote_identifier(known.column)}", descending, known, is_always_set=True)


def _compile(search: Search, data_type: DataType, name: str, descending: bool, near: JsonValue) -> _Term | None:
    if name == RANDOM:
        return _Term("random()", descending)
    known = find_constrained(data_type, name)
    is_distance = known.type.name == ScalarType.ADDRESS and not known.type.is_list and near is not None
    if not is_distance and (known.type.is_list or is_json(known)):
        raise ConstraintProblem(f"things cannot be sorted by {known.name}, which is a {known.type}")
    seen = ALWAYS if search.guards is None else search.guards.sees(known)
    if seen == NEVER:
        if search.drops_hidden:
            return None
        raise hidden(data_type, known)
    if is_distance:
        try:
            value = distance_sql(search, known, read_origin(near))
        except OutOfPlace as error:
            raise ConstraintProblem(f"sorting by {known.name} needs geo_reference: {error}") from None
    else:
        value = f"t.{quote_identifier(known.column)}"
    if seen != ALWAYS:
        value = f"CASE WHEN {seen} THEN {value} END"
    is_plain = seen == ALWAYS and not is_distance
    is_always_set = is_plain and known.column in _ALWAYS_SET
    is_indexed = is_plain and not is_always_set and _has_index(data_type, known)
    return _Term(value, descending, None if is_distance else known, is_always_set, is_indexed)


def _has_index(data_type: DataType, known: DataField) -> bool:
    """Whether an index may have the things in the order of the field: behind others, where these are equal."""
    return any(known.name in group for group in (*data_type.indexes, *data_type.unique))


def _read_token(by: DataField, token: str) -> tuple[str | None, str]:
    """The sort key and id of the last thing of a page. Raises ConstraintProblem for what no page with that order
    gave.
    """
    try:
        sort_key, last_id = _TOKEN.validate_json(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if sort_key is not None:
            to_parameter(by, sort_key)
    except (ValueError, ConstraintProblem):
        raise ConstraintProblem(f"`after` has to be what an earlier page sorted by {by.name} gave") from None
    if not may_exist(last_id):
        raise ConstraintProblem(f"`after` has to be what an earlier page sorted by {by.name} gave")
    return sort_key, last_id
