"""What `contains` means in the log, as in Bubble's: words that a line has to have, a 'phrase in single quotes', and OR
in capitals between alternatives.

A text is found where a word begins with it: `time` finds `timeout`, `out` does not. So an index can answer: it knows
the words of each line (the database's `log_words`). Words are runs of ASCII letters and digits; every character beyond
ASCII is one by itself, so that languages without spaces are searched too. Case does not matter.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from penstock.storable import UNSTORABLE_REASON, is_storable

MAX_CHARACTERS: Final = 1000
MAX_TERMS: Final = 50
_WORD_LENGTH: Final = 60
"""Longer words are divided, here and by the database's `log_words`."""
_TERM: Final = re.compile(r"'([^']+)'(?=\s|$)|(\S+)")
_PIECE: Final = re.compile(rf"[a-z0-9]{{1,{_WORD_LENGTH}}}|[^\x00-\x7f]")
_OR: Final = "OR"


@dataclass(frozen=True, slots=True)
class LogTerms:
    """Alternatives, each of texts in lower case that a line has to have, all of them. `query` finds by the index every
    line that matches, and few others.
    """

    alternatives: tuple[tuple[str, ...], ...]
    query: str
    _patterns: tuple[tuple[re.Pattern[str], ...], ...] = field(repr=False, compare=False)

    def match(self, parts: Iterable[str | None]) -> bool:
        """Whether a line with these parts (its kind, its message, and so on) has what is looked for."""
        text = " ".join(part for part in parts if part).lower()
        return any(all(pattern.search(text) for pattern in patterns) for patterns in self._patterns)


def read_log_terms(text: str) -> LogTerms:
    """What `contains` asks for. Raises ValueError for what nothing can contain, or what is too much to look for."""
    if not is_storable(text):
        raise ValueError(UNSTORABLE_REASON)
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"at most {MAX_CHARACTERS} characters can be looked for; shorten it")
    alternatives: list[tuple[str, ...]] = []
    coming: list[str] = []
    for found in _TERM.finditer(text):
        phrase, word = found.groups()
        if word == _OR:
            alternatives.append(tuple(coming))
            coming = []
        else:
            coming.append(" ".join((phrase or word).lower().split()))
    wanted = tuple(terms for terms in [*alternatives, tuple(coming)] if terms)
    terms = [term for group in wanted for term in group]
    if len(terms) > MAX_TERMS:
        raise ValueError(f"at most {MAX_TERMS} words and phrases can be looked for at once, these are {len(terms)}")
    if not terms or any(_PIECE.search(term) is None for term in terms):
        raise ValueError("each word and phrase needs a letter or a digit")
    query = " | ".join(f"({' & '.join(map(_write_query, group))})" for group in wanted)
    return LogTerms(wanted, query, tuple(tuple(map(_write_pattern, group)) for group in wanted))


def _write_query(term: str) -> str:
    """As a `tsquery`: all of its words, of which the last may continue."""
    pieces = [piece.group() for piece in _PIECE.finditer(term)]
    words = [_write_piece(piece) for piece in pieces]
    if term.endswith(pieces[-1]) and pieces[-1].isascii():
        words[-1] += ":*"
    return " & ".join(words)


def _write_piece(piece: str) -> str:
    """Some databases know the cases of ASCII only, so a character beyond it is searched in each case that it has."""
    if piece.isascii():
        return piece
    cases = {case for case in (piece, piece.lower(), piece.upper()) if len(case) == 1}
    return "(" + " | ".join(f"'{case}'" for case in sorted(cases)) + ")"


def _write_pattern(term: str) -> re.Pattern[str]:
    begins_word = r"(?<![a-z0-9])" if term[0].isascii() and term[0].isalnum() else ""
    return re.compile(begins_word + r"\s+".join(map(re.escape, term.split(" "))))
