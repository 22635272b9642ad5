"""`penstock up --demo`: plays the story of `examples/quickstart` over HTTP against this process, and reports it."""

from penstock.demo.story import Demo

__all__ = ["Demo"]
