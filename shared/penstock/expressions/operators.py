"""What the operators of expressions take and give, by the kinds of their operands. `inference` asks here, and
`docs/expressions.md` shows the same tables.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from pydantic import JsonValue

from penstock.expressions.kinds import ANYTHING, BOOLEAN, NUMBER, TEXT, Kind, join


class Operator(NamedTuple):
    """An operator as the page shows it."""

    written: str
    takes: str
    does: str
    example: str
    answer: JsonValue


OPERATORS: Final = (
    Operator("`.` `[…]`", "object, list, text", "a member; an item, from 0 on", "split('a,b', ',')[1]", "b"),
    Operator("`[a:b]`", "list, text", "from a to b, both included", "split('a,b,c', ',')[0:1]", ["a", "b"]),
    Operator("`??`", "any", "stands in for null; binds closer than those below", "null ?? 2", 2),
    Operator("`-` `not`", "number; boolean", "the opposite; write `not (a == b)`, with brackets", "-(2)", -2),
    Operator("`^`", "number", "a power", "2 ^ 3", 8),
    Operator("`*` `/` `%`", "number", "division by zero is null; `%` is the rest", "7 % 3", 1),
    Operator("`+` `-`", "number", "decimal: no rounding errors of floats", "0.1 + 0.2", 0.3),
    Operator("`+`", "text", "one after the other", "'a' + 'b'", "ab"),
    Operator("`<` `<=` `>` `>=`", "numbers, or a `d(…)` with a date", "order; texts have none", "2 <= 3", True),
    Operator("`==` `!=`", "the same kind", "equality; lists and objects are never equal", "'a' != 'b'", True),
    Operator("`in` `not in`", "any; list, range, object", "whether it is an item, or a member", "2 in [1..3]", True),
    Operator("`and` `or`", "boolean", "both; at least one", "true and false", False),
    Operator("`a ? b : c`", "boolean; any", "b if a holds, else c", "1 > 2 ? 'more' : 'less'", "less"),
)  # fmt: skip
"""From the one that binds closest to the one that binds loosest."""


class Misuse(Exception):
    """An operator is given what it does not take; `hint` says what to write."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


_STEP_BY: Final = (
    "write d(a).diff(d(b), 'day') for the time between two dates, d(a).add('3d') or d(a).sub('3d') for another"
)


def combine(sign: str, left: Kind, right: Kind) -> Kind:
    """The kind of `left sign right`. Raises Misuse."""
    return _RULES[sign](sign, left, right)


def _calculate(sign: str, left: Kind, right: Kind) -> Kind:
    for kind in (left, right):
        if kind.word in {"date", "moment"}:
            raise Misuse(f"{sign} takes numbers, not {kind}", _STEP_BY)
        if kind.is_decided and kind.word != "number":
            hint = "write number(…) to read a number from a text" if kind.is_text else _hint_for_list(kind)
            raise Misuse(f"{sign} takes numbers, not {kind}", hint)
    return NUMBER


def _add(_sign: str, left: Kind, right: Kind) -> Kind:
    if not (left.is_decided and right.is_decided):
        known = left if left.is_decided else right
        if known.is_decided and known.word != "number" and not known.is_text:
            raise Misuse(f"+ takes numbers or texts, not {known}", _hint_for_list(known))
        return ANYTHING
    words = {left.word, right.word}
    if words & {"date", "moment"} and "number" in words:
        raise Misuse(f"+ takes numbers, not {left if left.word != 'number' else right}", _STEP_BY)
    if left.word == right.word == "number":
        return NUMBER
    if left.is_text and right.is_text:
        return TEXT
    if words <= {"text", "number", "boolean"}:
        raise Misuse(f"+ does not take {left} and {right}", "write string(…) to put a number into a text")
    wrong = right if left.word in {"text", "number"} else left
    raise Misuse(f"+ takes numbers or texts, not {wrong}", _hint_for_list(wrong))


def _hint_for_list(kind: Kind) -> str:
    return {
        "list": "write len(…) for the number of items, sum(…) for their sum, merge([a, b]) for both lists in one",
        "object": "name the member you mean",
    }.get(kind.word, "")


def _order(sign: str, left: Kind, right: Kind) -> Kind:
    for kind in (left, right):
        if kind.word in {"boolean", "list", "object"}:
            hint = "compare len(…) of it" if kind.word == "list" else ""
            raise Misuse(f"{sign} compares numbers or dates, not {kind}", hint)
    words = {left.word, right.word}
    if "number" in words and words & {"text", "date", "moment"}:
        raise Misuse(f"{sign} does not compare {left} with {right}", _convert(left, right))
    if "moment" not in words and any(kind.is_text for kind in (left, right)) and (left.is_decided and right.is_decided):
        raise Misuse(f"{sign} compares numbers or dates, not {left} with {right}", "write d(a) < d(b) for times")
    return BOOLEAN


def _equal(sign: str, left: Kind, right: Kind) -> Kind:
    if not (left.is_decided and right.is_decided):
        return BOOLEAN
    if "object" in {left.word, right.word}:
        thing = left if left.of and left.word == "object" else right
        hint = "compare their _id" if thing.of and thing.word == "object" else "compare their members"
        raise Misuse(f"{sign} never finds {left} and {right} equal", hint)
    if "list" in {left.word, right.word}:
        raise Misuse(f"{sign} never finds {left} and {right} equal", "write contains(list, item), or compare len(…)")
    if left.word != right.word and not (left.is_text and right.is_text):
        raise Misuse(f"{sign} compares {left} with {right}, which are never equal", _convert(left, right))
    return BOOLEAN


def _convert(left: Kind, right: Kind) -> str:
    words = {left.word, right.word}
    if words == {"number", "text"}:
        return "write the number without quotes, or number(…) to read it from a text"
    if words == {"boolean", "text"} or words == {"boolean", "number"}:
        return "compare with true or false, without quotes"
    return "write d(a).timestamp() for milliseconds since 1970" if words & {"date", "moment"} else ""


def _contained(sign: str, left: Kind, right: Kind) -> Kind:
    if right.is_text:
        raise Misuse(f"{sign} looks into a list, not into text", "write contains(text, part)")
    if right.word in {"number", "boolean"}:
        raise Misuse(f"{sign} looks into a list, not into {right}")
    if left.word in {"list", "object"}:
        raise Misuse(f"{sign} never finds {left}", "look for one of its members, such as _id")
    if right.word == "list" and right.item is not None and right.item.word not in {"list", "object"}:
        _equal(sign, left, right.item)
    return BOOLEAN


def _both(sign: str, left: Kind, right: Kind) -> Kind:
    check_condition(sign, left)
    return join((BOOLEAN, right))


def _stand_in(_sign: str, left: Kind, right: Kind) -> Kind:
    return right if left.word == "null" else join((left, right))


def check_condition(what: str, kind: Kind) -> None:
    """What `and`, `not` or `? :` is given has to be true or false. Raises Misuse."""
    if kind.is_decided and kind.word != "boolean":
        hint = {"list": "write len(…) > 0", "number": "compare with something, such as a != 0"}
        raise Misuse(
            f"{what} takes true or false, not {kind}", hint.get(kind.word, "compare with something, such as a != null")
        )


def negate(sign: str, kind: Kind) -> Kind:
    """The kind of `-a`, `+a`, `not a`. Raises Misuse."""
    if sign in {"not", "!"}:
        if kind.is_decided and kind.word != "boolean":
            raise Misuse(f"{sign} takes true or false, not {kind}", "put the comparison in brackets: not (a == b)")
        return BOOLEAN
    if kind.is_decided and kind.word != "number":
        raise Misuse(f"{sign} takes a number, not {kind}")
    return NUMBER


_RULES: Final[Mapping[str, Callable[[str, Kind, Kind], Kind]]] = {
    **dict.fromkeys(("-", "*", "/", "%", "^"), _calculate),
    **dict.fromkeys(("<", "<=", ">", ">="), _order),
    **dict.fromkeys(("==", "!="), _equal),
    **dict.fromkeys(("in", "not in"), _contained),
    **dict.fromkeys(("and", "or"), _both),
    "+": _add,
    "??": _stand_in,
}
BINDS: Final[Mapping[str, int]] = {
    "or": 1, "and": 2, "==": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4, "in": 4, "not in": 4,
    "+": 5, "-": 5, "*": 6, "/": 6, "%": 6, "^": 7, "??": 8,
}  # fmt: skip
"""How closely each binary operator binds."""
