"""`penstock up --demo`: plays the story of `examples/quickstart` over real HTTP against the process it runs in, and
says what happened.
"""

from penstock.demo.story import Demo

__all__ = ["Demo"]
