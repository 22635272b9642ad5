"""Places: what `geographic_search` and `geo_reference` say, and distances on a sphere as SQL."""

import math
import re
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from pydantic import JsonValue

from penstock import exact_json
from penstock.db import quote_identifier
from penstock.definitions.models import DataField

_EARTH_METRES: Final = 6_371_008.8
"""The mean radius (IUGG)."""
_UNITS: Final[Mapping[str, float]] = {
    **dict.fromkeys(("mi", "mile", "miles"), 1609.344),
    **dict.fromkeys(("km", "kilometer", "kilometers", "kilometre", "kilometres"), 1000.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1.0),
}
_PAIR: Final = re.compile(r"\s*([+-]?\d{1,3}(?:\.\d{1,20})?)\s*[,; ]\s*([+-]?\d{1,3}(?:\.\d{1,20})?)\s*", re.ASCII)


class Origin(NamedTuple):
    """A place, in degrees."""

    lat: float
    lng: float


class OutOfPlace(ValueError):
    """A place that cannot be read; the text says what is expected."""


class Binder(Protocol):
    """What numbers the parameters of a statement."""

    def bind(self, value: object) -> str:
        """`$n` for `value`."""


def read_area(value: JsonValue) -> tuple[Origin, float]:
    """The origin and the range in metres of `{range, origin_address, unit?}`; without a unit, miles, as in Bubble's
    editor. Raises OutOfPlace.
    """
    if isinstance(value, str):
        value = _parse(value)
    if not isinstance(value, dict) or not {"range", "origin_address"} <= value.keys():
        raise OutOfPlace("expected {range, origin_address} and perhaps unit")
    unit = value.get("unit") or "miles"
    metres = _UNITS.get(unit.strip().lower()) if isinstance(unit, str) else None
    if metres is None:
        raise OutOfPlace("the unit has to be miles, kilometers or meters")
    reach = _number(value["range"])
    if reach is None or reach < 0:
        raise OutOfPlace("the range has to be a number that is not negative")
    return read_origin(value["origin_address"]), reach * metres


def read_origin(value: JsonValue) -> Origin:
    """A place from `{lat, lng}`, an address with both, or `48.85, 2.35`; nothing here looks up addresses. Raises
    OutOfPlace.
    """
    if isinstance(value, str):
        pair = _PAIR.fullmatch(value)
        value = {"lat": pair[1], "lng": pair[2]} if pair else _parse(value)
    if isinstance(value, dict):
        lat, lng = _number(value.get("lat")), _number(value.get("lng"))
        if lat is not None and lng is not None and abs(lat) <= 90 and abs(lng) <= 180:
            return Origin(lat, lng)
    raise OutOfPlace("a place needs `lat` and `lng` (addresses are not looked up), such as {lat: 48.85, lng: 2.35}")


def distance_sql(condition: Binder, data_field: DataField, origin: Origin) -> str:
    """The metres between the field's address and `origin`, by the haversine formula; null without coordinates."""
    column = quote_identifier(data_field.column)
    lat, lng = (f"({column} ->> '{part}')::float8" for part in Origin._fields)
    at_lat, at_lng = (f"{condition.bind(repr(part))}::text::float8" for part in origin)
    square = (
        f"sin(radians({lat} - {at_lat}) / 2) ^ 2 + cos(radians({at_lat})) * cos(radians({lat})) "
        f"* sin(radians({lng} - {at_lng}) / 2) ^ 2"
    )
    # Of 1 the rounded square may be a little beyond; least() would take null for 1.
    return f"({2 * _EARTH_METRES} * atan2(sqrt({square}), sqrt(abs(1 - ({square})))))"


def _number(value: JsonValue) -> float | None:
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,20}(?:\.\d{1,20})?\s*", value, re.ASCII):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _parse(text: str) -> JsonValue:
    try:
        parsed: JsonValue = exact_json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed
