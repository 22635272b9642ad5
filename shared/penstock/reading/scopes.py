"""Checks the expressions of nodes: that they compile, that every name in them is in scope, and that its members
exist.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from penstock.expressions import Expression, ExpressionError, Reference, compile_expression
from penstock.expressions.inference import Mismatch, infer, infer_rewriting
from penstock.expressions.kinds import ANYTHING, BOOLEAN, NUMBER, TEXT, Kind, join, list_of, object_of
from penstock.expressions.lookups import Lookup, Lookups, Rewriting
from penstock.expressions.templates import Embedded, split_text
from penstock.expressions.tokens import MAX_LENGTH, did_you_mean
from penstock.reading.available import UNAVAILABLE
from penstock.reading.documents import Mapping as MappingNode
from penstock.reading.documents import Node, Scalar, Sequence, describe
from penstock.reading.lookalikes import find_lookalikes
from penstock.reading.nullable import Nullable
from penstock.reading.places import Place, Report, shorten

RUN_MEMBERS: Final = frozenset(
    "id chain_id depth depth_limit attempt environment workflow scheduled_at started_at".split()
)
REQUEST_MEMBERS: Final = frozenset("method headers query ip".split())
WEBHOOK_MEMBERS: Final = frozenset("source id event_id type payload headers received_at".split())
CHANGE_MEMBERS: Final = frozenset("operation type before after".split())
RUN_EVENT_MEMBERS: Final = frozenset("id chain_id workflow state attempt depth parameters error".split())
RECURRENCE_MEMBERS: Final = frozenset({"id", "tick_at"})
ALWAYS: Final = frozenset({"params", "run", "user", "now", "secrets", "recurrence"})
_MAX_LOOKUPS: Final = 40
"""Of one expression. Brackets, which each of them adds, nest no deeper than 100."""
_CONSTANTS: Final = {str: TEXT, bool: BOOLEAN, int: NUMBER, float: NUMBER}
_OUT_OF_SCOPE: Final = {
    "request": "request is known only in workflows with an api trigger",
    "webhook": "webhook is known only in workflows with a webhook trigger",
    "steps": "steps are known only inside steps",
    "state": "state is known only inside steps",
    "item": "item is known only in `with` of schedule_list, `set` of create_many and `steps` of each",
    "index": "index is known only in `with` of schedule_list, `set` of create_many and `steps` of each",
    "params": "there are no parameters here",
    "change": "change is known only in workflows with a change trigger",
    "run_event": "run_event is known only in workflows with a run trigger",
    "before": "before and after are known only in `when` of a change trigger; elsewhere they are change.before and "
    "change.after",
    "after": "before and after are known only in `when` of a change trigger; elsewhere they are change.before and "
    "change.after",
}


class LookupsFound:
    """What the expressions of one step read through references, gathered while they are checked."""

    def __init__(self) -> None:
        self._rewritten: dict[str, str] = {}
        self._things: dict[str, Lookup] = {}

    def note(self, source: str, rewriting: Rewriting) -> bool:
        """Note an expression that was checked; whether it is short enough once it is rewritten."""
        texts = [rewriting.text(), *(lookup.ids for lookup in rewriting.lookups)]
        if any(len(text) > MAX_LENGTH for text in texts) or len(rewriting.lookups) > _MAX_LOOKUPS:
            return False
        self._rewritten[source] = texts[0]
        self._things.update({lookup.key: lookup for lookup in rewriting.lookups})
        return True

    def gathered(self) -> Lookups | None:
        """All of it; None when there is nothing."""
        return Lookups(self._rewritten, tuple(self._things.values())) if self._things else None


_PASSWORD: Final = (
    "a password is encrypted, and can only be given as it is, as ${params.NAME}, to the steps about accounts (log_in "
    "and the like) and to a workflow that `trigger` performs"
)


@dataclass(slots=True)
class Scope:
    """The names an expression may use at some place, with their members where these are known.

    `later_steps` are ids of the same workflow that have no result yet; `passwords` are parameters that no expression
    may read. `is_kept` says that what is computed here is
    stored or shown, so that it may hold no secret. `kinds` are those of the names, where known; `nullable` are required
    parameters that may be null all the same.
    """

    names: frozenset[str]
    members: Mapping[str, Collection[str]] = field(default_factory=dict)
    later_steps: frozenset[str] = frozenset()
    is_kept: bool = False
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    nullable: Nullable = field(default_factory=Nullable)
    things: Mapping[str, Kind] = field(default_factory=dict)
    """The kinds of the things of each data type, and of the attributes of each option set, where expressions may read
    through references.
    """
    lookups: LookupsFound = field(default_factory=LookupsFound)
    passwords: frozenset[str] = frozenset()

    def plus_item(self, item: Kind, name: str = "item") -> "Scope":
        """The same scope where the item, under its name, and `index` are known, too."""
        return replace(self, names=self.names | {name, "index"}, kinds={**self.kinds, name: item, "index": NUMBER})


def check_expression(node: Node, key: str, scope: Scope, report: Report) -> str | None:
    """The text of a bare expression (`when`), after all checks."""
    if not isinstance(node, Scalar) or node.value is None:
        report.error(node.place, f"{key!r}: expected an expression, got {describe(node)}")
        return None
    text = node.text
    if text.startswith("${") and text.endswith("}"):
        report.error(node.place, f"{key!r} takes a bare expression", f"write {text[2:-1].strip()} without ${{ }}")
        return None
    if text.startswith("{{") and text.endswith("}}"):
        report.error(node.place, f"{key!r} takes a bare expression", f"write {text.strip('{} ')} without {{{{ }}}}")
        return None
    if _check(node, Embedded(text, 0), scope, report) is None:
        return None
    if key == "when" and (kind := infer(text, scope.kinds, scope.things)).is_decided and kind.word != "boolean":
        hint = (
            "write len(…) > 0" if kind.word == "list" else f"compare it with something, such as {text.strip()} != null"
        )
        report.error(node.place, f"'when' is a condition, true or false, and `{_one_line(text)}` is {kind}", hint)
    return text


def check_templates(node: Node, scope: Scope, report: Report) -> None:
    """Checks every expression that texts in the tree embed."""
    if isinstance(node, Scalar):
        check_template(node, scope, report)
    for child in children(node):
        check_templates(child, scope, report)


def check_template(node: Scalar, scope: Scope, report: Report) -> list[Expression]:
    """The checked expressions of one text; those with problems are left out."""
    if isinstance(node.value, str):
        for found in find_lookalikes(node.value, scope.names, scope.kinds):
            place, message = _exact(node, node.value, 0, found.offset), f"{shorten(found.written)!r} is plain text here"
            report.warning(place, message, found.hint, is_exact=True)
    if not is_template(node) or not isinstance(node.value, str):
        return []
    try:
        embedded = [part for part in split_text(node.value) if isinstance(part, Embedded)]
    except ExpressionError as error:
        report.exact_error(_exact(node, error.source, error.offset or 0, 0), error.reason)
        return []
    checked = [_check(node, part, scope, report) for part in embedded]
    return [expression for expression in checked if expression is not None]


def is_template(node: Node | None) -> bool:
    """Whether a node is a text that embeds an expression."""
    return isinstance(node, Scalar) and isinstance(node.value, str) and "${" in node.value


def whole_expression(node: Node | None) -> str | None:
    """The expression of a text that is only `${…}`."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or "${" not in node.value:
        return None
    try:
        parts = list(split_text(node.value))
    except ExpressionError:
        return None
    return parts[0].source if len(parts) == 1 and isinstance(parts[0], Embedded) else None


def kind_of_node(node: Node, scope: Scope) -> Kind:
    """The kind of what a node with templates comes to; ANYTHING where an expression in it is wrong."""
    if isinstance(node, Sequence):
        return list_of(join(kind_of_node(item, scope) for item in node.items))
    if isinstance(node, MappingNode):
        return object_of({key: kind_of_node(value, scope) for key, (_, value) in node.entries.items()})
    if not is_template(node):
        return _CONSTANTS.get(type(node.value), ANYTHING)
    source = whole_expression(node)
    if source is None:
        return TEXT
    try:
        _compile(source, scope.names)
        return infer(source, scope.kinds, scope.things)
    except (ExpressionError, Mismatch):
        return ANYTHING


def children(node: Node) -> Iterator[Node]:
    """The nodes directly inside a node."""
    if isinstance(node, Sequence):
        yield from node.items
    elif isinstance(node, MappingNode):
        yield from (value for _, value in node.entries.values())


@lru_cache(maxsize=500)
def _compile(source: str, names: frozenset[str]) -> Expression:
    """What is checked is compiled twice otherwise: for its problems, and for its kind."""
    return compile_expression(source, names=names)


def _check(node: Scalar, part: Embedded, scope: Scope, report: Report) -> Expression | None:
    try:
        expression = _compile(part.source, scope.names)
    except ExpressionError as error:
        place = _exact(node, part.source, part.offset, error.offset or 0)
        report.exact_error(place, f"`{_one_line(part.source)}`: {error.reason}", _hint_for(part.source, error))
        return None
    for reference in expression.references:
        if problem := _problem_of(reference, scope):
            place = _exact(node, part.source, part.offset, reference.offset)
            report.exact_error(place, f"`{_one_line(part.source)}`: {problem}")
            return None
    try:
        rewriting = infer_rewriting(part.source, scope.kinds, scope.things)[1]
    except Mismatch as error:
        place = _exact(node, part.source, part.offset, error.offset)
        report.exact_error(place, f"`{_one_line(part.source)}`: {error.reason}", error.hint)
        return None
    if rewriting is not None and not scope.lookups.note(part.source, rewriting):
        place, hint = _exact(node, part.source, part.offset, 0), "read a part of it in an earlier step (state)"
        report.exact_error(place, f"`{_one_line(part.source)}`: it reads through too many references", hint)
        return None
    scope.nullable.note(part.source, expression.references, lambda at: _exact(node, part.source, part.offset, at))
    return expression


def _problem_of(reference: Reference, scope: Scope) -> str | None:
    root, *members = reference.path
    if root == "secrets" and scope.is_kept:
        return (
            "a secret would be stored or shown here; read it in `when`, or in a step that calls out (http, call, "
            "send, email, run)"
        )
    if root == "secrets" and not members:
        return "secrets are read one by one, by their names: secrets.NAME"
    if root == "params" and scope.passwords and (not members or members[0] in scope.passwords):
        return _PASSWORD
    known = scope.members.get(root)
    if known is None or not members or members[0] in known:
        return None
    if root == "steps" and members[0] in scope.later_steps:
        return f"the step {members[0]!r} does not come before this one"
    kind = {"params": "parameter", "steps": "step"}.get(root, f"member of {root}")
    listed = f"; known are {', '.join(sorted(known))}" if known else ""
    return f"unknown {kind} {members[0]!r}{did_you_mean(members[0], known) or listed}"


def _hint_for(source: str, error: ExpressionError) -> str:
    if error.reason.startswith("syntax error") and source.startswith("{") and source.endswith("}"):
        return f"write ${{{source.strip('{} ')}}}, with one pair of braces"
    if not error.reason.startswith("unknown name") or error.offset is None:
        return ""
    name = source[error.offset :].partition(".")[0].strip()
    return _OUT_OF_SCOPE.get(name, "") if name in _OUT_OF_SCOPE or name in UNAVAILABLE["name"] else ""


def _exact(node: Scalar, source: str, start: int, offset: int) -> Place:
    """Where the character at `offset` of an expression stands in the file, if the file has it as written; else the
    node's place.
    """
    raw = node.place.file.text[node.place.start : node.place.end]
    at = raw.find(node.text)
    index = at + start if at >= 0 else raw.find(source)
    if index >= 0:
        begin = node.place.start + index + offset
        return Place(node.place.file, min(begin, node.place.end), node.place.end)
    folded = _position_in_folded(raw, node.text, start + offset)
    return node.place if folded is None else Place(node.place.file, node.place.start + folded, node.place.end)


def _position_in_folded(raw: str, text: str, index: int) -> int | None:
    """Where `text[index]` stands in `raw`, which is the same but for line breaks and indentation (a block, or several
    plain lines).
    """
    begin = raw.find("\n") + 1 if raw[:1] in {"|", ">"} else 0
    solid = [position for position in range(begin, len(raw)) if not raw[position].isspace()]
    count = len("".join(text[:index].split()))
    if [raw[position] for position in solid] != list("".join(text.split())):
        return None
    return solid[count] if count < len(solid) else len(raw)


def _one_line(source: str) -> str:
    text = " ".join(source.split())
    return text if len(text) <= 200 else f"{text[:200]}…"
