"""`python -m penstock.expressions` writes the page about the language, `docs/expressions.md`, to standard output."""

import sys

from penstock.expressions.page import render_page

sys.stdout.write(render_page())
