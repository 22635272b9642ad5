"""Writes the schemas into the directory that the command line names."""

import sys
from pathlib import Path

import orjson

from penstock.reading.schemas import build_schemas


def main() -> None:
    """Replace the files of that directory."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, schema in build_schemas().items():
        (directory / name).write_bytes(orjson.dumps(schema, option=orjson.OPT_INDENT_2) + b"\n")


main()
