"""The functions of expressions: what each takes and gives, with an example. `inference` checks by this table, and
`docs/expressions.md` is made of it.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from pydantic import JsonValue


class Function(NamedTuple):
    """A function, or a method of dates. `takes` are the words of ACCEPTED, those after `needs` may be left out.

    `gives` is a word of a kind, `list of` one, or, of the functions that go through a list, `item` or `body`.
    """

    takes: tuple[str, ...]
    gives: str
    does: str
    example: str
    answer: JsonValue
    needs: int = 99


ACCEPTED: Final[Mapping[str, frozenset[str]]] = {
    "any": frozenset({"text", "number", "boolean", "date", "moment", "list", "object"}),
    "text": frozenset({"text", "date", "moment"}),
    "number": frozenset({"number"}),
    "boolean": frozenset({"boolean"}),
    "time": frozenset({"text", "number", "date", "moment"}),
    "list": frozenset({"list"}),
    "list of numbers": frozenset({"list"}),
    "list of numbers or dates": frozenset({"list"}),
    "object": frozenset({"object"}),
    "list or object": frozenset({"list", "object"}),
    "text or list": frozenset({"text", "date", "moment", "list"}),
    "text or number": frozenset({"text", "date", "moment", "number"}),
    "text, number or boolean": frozenset({"text", "number", "boolean", "date", "moment"}),
}
"""The kinds that each word of `takes` stands for."""
_LIST: Final = ("list", "condition")
_NUMBERS: Final = ("list of numbers",)

TEXTS: Final = {
    "len": Function(("text or list",), "number", "how many characters or items there are", "len('Zoë')", 3),
    "upper": Function(("text",), "text", "in capitals", "upper('ada')", "ADA"),
    "lower": Function(("text",), "text", "in lower case", "lower('Ada')", "ada"),
    "trim": Function(("text",), "text", "without white space around it", "trim('  Ada ')", "Ada"),
    "split": Function(("text", "text"), "list of text", "between separators", "split('a,b', ',')", ["a", "b"]),
    "contains": Function(
        ("text or list", "any"), "boolean", "whether a text or an item is in it", "contains('order', 'der')", True
    ),
    "startsWith": Function(
        ("text", "text"), "boolean", "whether it begins with the other", "startsWith('order', 'or')", True
    ),
    "endsWith": Function(
        ("text", "text"), "boolean", "whether it ends with the other", "endsWith('order', 'er')", True
    ),
    "matches": Function(
        ("text", "text"), "boolean", "whether a regular expression is found in it", r"matches('A-17', '^[A-Z]-\d+$')",
        True,
    ),
    "extract": Function(
        ("text", "text"), "list of text", "what a regular expression finds: all of it, then its groups",
        r"extract('A-17', '([A-Z])-(\d+)')", ["A-17", "A", "17"],
    ),
    "fuzzyMatch": Function(
        ("text or list", "text"), "any", "how alike texts are, from 0 to 1; a list gives a list",
        "fuzzyMatch('order', 'order')", 1,
    ),
}  # fmt: skip
NUMBERS: Final = {
    "abs": Function(("number",), "number", "without its sign", "abs(-2)", 2),
    "floor": Function(("number",), "number", "rounded down", "floor(2.7)", 2),
    "ceil": Function(("number",), "number", "rounded up", "ceil(2.1)", 3),
    "round": Function(
        ("number", "number"), "number", "rounded, to this number of decimals", "round(2.345, 2)", 2.35, 1
    ),
    "trunc": Function(
        ("number", "number"), "number", "cut off, after this number of decimals", "trunc(2.789, 1)", 2.7, 1
    ),
    "rand": Function(("number",), "number", "a random whole number from 0 to this one", "rand(0)", 0),
    "sum": Function(_NUMBERS, "number", "the sum; of none it is 0", "sum([1, 2, 3.5])", 6.5),
    "avg": Function(_NUMBERS, "number", "the average; of none it is an error", "avg([1, 2])", 1.5),
    "min": Function(("list of numbers or dates",), "item", "the least", "min([3, 1, 2])", 1),
    "max": Function(("list of numbers or dates",), "item", "the greatest", "max([3, 1, 2])", 3),
    "median": Function(_NUMBERS, "number", "the one in the middle", "median([1, 2, 9])", 2),
    "mode": Function(_NUMBERS, "number", "the most frequent one", "mode([1, 2, 2])", 2),
}
LISTS: Final = {
    "map": Function(("list", "body"), "list of body", "what each item gives", "map([1, 2], # * 10)", [10, 20]),
    "filter": Function(_LIST, "list of item", "the items that meet the condition", "filter([1, 2, 3], # > 1)", [2, 3]),
    "some": Function(_LIST, "boolean", "whether at least one does", "some([1, 2], # > 1)", True),
    "all": Function(_LIST, "boolean", "whether all do", "all([1, 2], # > 1)", False),
    "none": Function(_LIST, "boolean", "whether none does", "none([1, 2], # > 2)", True),
    "one": Function(_LIST, "boolean", "whether exactly one does", "one([1, 2], # > 1)", True),
    "count": Function(_LIST, "number", "how many do", "count([1, 2, 3], # > 1)", 2),
    "flatMap": Function(
        ("list", "body"), "any", "the items of the lists that each item gives", "flatMap([1, 2], [#, #])", [1, 1, 2, 2]
    ),
    "flatten": Function(("list",), "list", "lists in a list become its items", "flatten([1, [2, 3]])", [1, 2, 3]),
}
OBJECTS: Final = {
    "keys": Function(("list or object",), "list", "the names of the members, in any order", "keys({a: 1})", ["a"]),
    "values": Function(("object",), "list", "the values of the members, in any order", "values({a: 1})", [1]),
    "merge": Function(
        ("list",), "any", "objects, or lists, as one; the later ones win", "merge([{a: 1, b: 1}, {b: 2}])",
        {"a": 1, "b": 2},
    ),
    "mergeDeep": Function(
        ("list",), "any", "the same, for objects inside them too", "mergeDeep([{a: {b: 1}}, {a: {c: 2}}])",
        {"a": {"b": 1, "c": 2}},
    ),
}  # fmt: skip
CONVERSIONS: Final = {
    "string": Function(("text, number or boolean",), "text", "as text", "string(1.5)", "1.5"),
    "number": Function(("text, number or boolean",), "number", "as a number, or an error", "number('17')", 17),
    "bool": Function(("any",), "boolean", "true for the text true and for numbers but 0", "bool('true')", True),
    "isNumeric": Function(("any",), "boolean", "whether it is a number, or a text of one", "isNumeric('17')", True),
    "type": Function(
        ("any",), "text", "string, number, bool, array, object, date or null", "type([1])", "array"
    ),
}  # fmt: skip
DATES: Final = {
    "d": Function(
        ("time", "text"), "moment", "a date that has methods and an order, in a time zone (UTC without one)",
        "d('2026-01-31T09:00:00Z')", "2026-01-31T09:00:00Z", 1,
    ),
    "date": Function(("time",), "number", "its seconds since 1970", "date('1970-01-02')", 86400),
    "time": Function(("text or number",), "number", "the seconds since midnight", "time('10:00')", 36000),
    "duration": Function(("text or number",), "number", "a length of time in seconds", "duration('1h 30m')", 5400),
    "dateString": Function(("time",), "text", "written out", "dateString('2026-01-31')", "2026-01-31 00:00:00"),
    "year": Function(("time",), "number", "its year", "year('2026-01-31')", 2026),
    "monthOfYear": Function(("time",), "number", "its month, 1 to 12", "monthOfYear('2026-01-31')", 1),
    "monthString": Function(("time",), "text", "its month in three letters", "monthString('2026-01-31')", "Jan"),
    "weekOfYear": Function(("time",), "number", "its ISO week", "weekOfYear('2026-01-31')", 5),
    "dayOfYear": Function(("time",), "number", "its day in the year", "dayOfYear('2026-02-01')", 32),
    "dayOfMonth": Function(("time",), "number", "its day in the month", "dayOfMonth('2026-01-31')", 31),
    "dayOfWeek": Function(("time",), "number", "its weekday, 1 for Monday to 7", "dayOfWeek('2026-01-31')", 6),
    "weekdayString": Function(("time",), "text", "its weekday in three letters", "weekdayString('2026-01-31')", "Sat"),
    "startOf": Function(
        ("time", "text"), "number", "when its year, month, week, day or hour began, in seconds since 1970",
        "startOf('1970-01-02T10:00:00Z', 'day')", 86400,
    ),
    "endOf": Function(
        ("time", "text"), "number", "when it ends, in seconds since 1970", "endOf('1970-01-01T10:00:00Z', 'day')", 86399
    ),
}  # fmt: skip
FUNCTION_TABLE: Final = {**TEXTS, **NUMBERS, **LISTS, **OBJECTS, **CONVERSIONS, **DATES}
"""Every function by name."""

_D: Final = "d('2026-01-31T09:30:15Z')"
_OTHER: Final = ("time", "text")


def _part(name: str, does: str, answer: JsonValue) -> Function:
    return Function((), "number", does, f"{_D}.{name}()", answer)


METHODS: Final = {
    "add": Function(
        ("text or number", "text"), "moment", "later, by a length of time, or by a number of units",
        f"{_D}.add('1d 2h')", "2026-02-01T11:30:15Z", 1,
    ),
    "sub": Function(
        ("text or number", "text"), "moment", "earlier", f"{_D}.sub(1, 'month')", "2025-12-31T09:30:15Z", 1
    ),
    "set": Function(("text", "number"), "moment", "with another unit", f"{_D}.set('hour', 7)", "2026-01-31T07:30:15Z"),
    "startOf": Function(("text",), "moment", "when its unit began", f"{_D}.startOf('month')", "2026-01-01T00:00:00Z"),
    "endOf": Function(("text",), "moment", "when its unit ends", f"{_D}.endOf('day')", "2026-01-31T23:59:59Z"),
    "tz": Function(
        ("text",), "moment", "the same moment in a time zone", f"{_D}.tz('Europe/Paris')", "2026-01-31T10:30:15+01:00"
    ),
    "format": Function(
        ("text",), "text", "written with the letters of strftime", f"{_D}.format('%d.%m.%Y')", "31.01.2026", 0
    ),
    "diff": Function(
        _OTHER, "number", "how much later it is, in whole units; in milliseconds without one",
        f"{_D}.diff('2026-01-01', 'day')", 30, 1,
    ),
    "isBefore": Function(_OTHER, "boolean", "whether it is earlier", f"{_D}.isBefore('2026-02-01')", True, 1),
    "isAfter": Function(_OTHER, "boolean", "whether it is later", f"{_D}.isAfter('2026-02-01')", False, 1),
    "isSame": Function(
        _OTHER, "boolean", "whether it is the same, in this unit", f"{_D}.isSame('2026-01-01', 'month')", True, 1
    ),
    "isSameOrBefore": Function(
        _OTHER, "boolean", "whether it is earlier or the same", f"{_D}.isSameOrBefore('2026-02-01')", True, 1
    ),
    "isSameOrAfter": Function(
        _OTHER, "boolean", "whether it is later or the same", f"{_D}.isSameOrAfter('2026-02-01')", False, 1
    ),
    "year": _part("year", "its year", 2026),
    "quarter": _part("quarter", "its quarter, 1 to 4", 1),
    "month": _part("month", "its month, 1 to 12", 1),
    "week": _part("week", "its ISO week", 5),
    "day": _part("day", "its day in the month", 31),
    "dayOfYear": _part("dayOfYear", "its day in the year", 31),
    "weekday": _part("weekday", "its weekday, 1 for Monday to 7", 6),
    "hour": _part("hour", "its hour", 9),
    "minute": _part("minute", "its minute", 30),
    "second": _part("second", "its second", 15),
    "timestamp": _part("timestamp", "its milliseconds since 1970", 1769851815000),
    "offsetName": Function(
        (), "text", "its time zone", "d('2026-01-31', 'Europe/Paris').offsetName()", "Europe/Paris"
    ),
    "isLeapYear": Function((), "boolean", "whether its year has a 29 February", f"{_D}.isLeapYear()", False),
    "isValid": Function((), "boolean", "whether it is a date", f"{_D}.isValid()", True),
    "isToday": Function((), "boolean", "whether it is today, in UTC", f"{_D}.isToday()", False),
    "isYesterday": Function((), "boolean", "whether it was yesterday", f"{_D}.isYesterday()", False),
    "isTomorrow": Function((), "boolean", "whether it is tomorrow", f"{_D}.isTomorrow()", False),
}  # fmt: skip
"""The methods of what `d(…)` gives, by name."""
