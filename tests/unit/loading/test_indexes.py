"""What `indexes` of a type may name."""

import pytest

from penstock.reading.loader import load_files
from tests.unit.loading.reading import problems


@pytest.mark.parametrize(
    ("types", "problem"),
    [
        (
            "type: order\nunique: [t]\nfields: {t: geographic address}",
            "2: 't' is a geographic address, which cannot be unique",
        ),
        (
            "type: order\nindexes: [[t, n]]\nfields: {t: geographic address, n: text}",
            "2: 't' is a geographic address, which cannot share an index",
        ),
        (
            "type: order\nindexes: [t]\nfields: {t: list of geographic address}",
            "2: 't' is a list of geographic address, which cannot have an index",
        ),
        (
            "type: order\nindexes: [{words: n}]\nfields: {n: number}",
            "2: 'n' is a number, which cannot be searched for words",
        ),
        ("type: order\nindexes: [{words: nam}]\nfields: {name: text}", "2: unknown field 'nam'; did you mean 'name'?"),
        (
            "type: order\nindexes: [{}]\nfields: {name: text}",
            "2: an index for words needs 'words'; such as {words: title}",
        ),
    ],
)
def test_what_cannot_have_an_index_is_a_problem(types: str, problem: str) -> None:
    assert problems(types=types) == [f"types/order.yaml:{problem}"]


def test_an_index_is_of_fields_a_place_or_words() -> None:
    types = """
type: shop
fields: {name: text, place: geographic address, size: number, tags: list of text}
indexes: [size, [size, name], tags, place, {words: name}, {words: name}]
"""
    app = load_files({"app.yaml": b"app: a", "types/shop.yaml": types.encode()}).app
    assert app is not None
    shop = app.types["shop"]
    assert shop.indexes == (("size",), ("size", "name"), ("tags",), ("place",))
    assert shop.words == ("name",)
