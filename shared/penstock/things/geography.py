"""Places: what `geographic_search` and `geo_reference` say, and distances on a sphere as SQL."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Protocol

from pydantic import JsonValue

from penstock import exact_json
from penstock.db import quote_identifier
from penstock.definitions.models import DataField

_EARTH_METRES: Final = 6_371_008.8
"""The mean radius (IUGG)."""
_MAX_REACH: Final = math.pi / 4
"""Of a circle, as an angle; a larger one holds so much that no index helps."""
_ROUNDING: Final = 1e-6
_DIGITS: Final = 12
"""Decimal places of degrees that count: a tenth of a micrometre."""
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
    lat, lng = (_degrees_sql(data_field, part) for part in Origin._fields)
    at_lat, at_lng = (f"{condition.bind(repr(round(part, _DIGITS)))}::text::float8" for part in origin)
    square = (
        f"sin(radians({lat} - {at_lat}) / 2) ^ 2 + cos(radians({at_lat})) * cos(radians({lat})) "
        f"* sin(radians({lng} - {at_lng}) / 2) ^ 2"
    )
    # Of 1 the rounded square may be a little beyond; least() would take null for 1.
    return f"({2 * _EARTH_METRES} * atan2(sqrt({square}), sqrt(abs(1 - ({square})))))"


def point_sql(data_field: DataField) -> str:
    """The field's address as a point of PostgreSQL, `(lng, lat)`; null without coordinates. An index holds it."""
    return f"point({_degrees_sql(data_field, 'lng')}, {_degrees_sql(data_field, 'lat')})"


def _degrees_sql(data_field: DataField, part: str) -> str:
    # Rounded, because PostgreSQL refuses to calculate with numbers so small that their squares are zero.
    return f"round(({quote_identifier(data_field.column)} ->> '{part}')::numeric, {_DIGITS})::float8"


def vicinity_sql(condition: Binder, data_field: DataField, origin: Origin, metres: float) -> str | None:
    """SQL that holds for all addresses within `metres` of `origin`, and for others around them, which an index serves;
    None where that would be nearly all there are.
    """
    boxes = list(_list_boxes(origin, metres))
    if not boxes:
        return None
    point = point_sql(data_field)
    inside = (
        f"{point} <@ {condition.bind(f'({west},{south}),({east},{north})')}::text::box"
        for west, south, east, north in boxes
    )
    return f"({' OR '.join(inside)})"


def _list_boxes(origin: Origin, metres: float) -> Iterator[tuple[float, float, float, float]]:
    """West, south, east, north of what holds a circle on the sphere: one box, or two where it crosses the date line.

    The meridians that touch the circle are asin(sin(r) / cos(lat)) away (the law of sines), as long as it holds no
    pole. A little is added, because sums are rounded.
    """
    reach = metres / _EARTH_METRES
    if reach >= _MAX_REACH:
        return
    margin = math.degrees(reach) * _ROUNDING + _ROUNDING
    south, north = origin.lat - math.degrees(reach) - margin, origin.lat + math.degrees(reach) + margin
    if south <= -90 or north >= 90:
        yield -180.0, max(south, -90.0), 180.0, min(north, 90.0)
        return
    half = math.degrees(math.asin(min(math.sin(reach) / math.cos(math.radians(origin.lat)), 1.0)))
    half += half * _ROUNDING + _ROUNDING
    west, east = origin.lng - half, origin.lng + half
    yield max(west, -180.0), south, min(east, 180.0), north
    if west < -180:
        yield west + 360, south, 180.0, north
    if east > 180:
        yield -180.0, south, east - 360, north


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
