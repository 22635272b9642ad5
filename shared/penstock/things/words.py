"""Words of texts, as PostgreSQL's full-text search sees them: stemmed, without stop words."""

from typing import Final

from penstock.db import quote_identifier
from penstock.definitions.models import DataField

_MAX_CHARACTERS: Final = 100_000
"""Characters of a text that are searched for words: the words of one much longer do not fit into a tsvector."""


def words_sql(data_field: DataField) -> str:
    """The words of the field's text. An index of the same expression finds them."""
    return f"to_tsvector('english', left({quote_identifier(data_field.column)}, {_MAX_CHARACTERS}))"
