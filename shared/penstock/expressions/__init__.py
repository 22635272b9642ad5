"""The expression language of app authors: bare expressions, and texts that embed them as `${…}`.

The language is zen-engine's; this package alone imports it. `tokens` finds the names an expression uses and refuses
what zen would accept without meaning it, `language` compiles and evaluates, `templates` does the same for JSON trees
whose texts embed expressions.
"""

from penstock.expressions.language import Expression, compile_expression
from penstock.expressions.templates import Template, compile_template
from penstock.expressions.tokens import ExpressionError, Reference

__all__ = ["Expression", "ExpressionError", "Reference", "Template", "compile_expression", "compile_template"]
