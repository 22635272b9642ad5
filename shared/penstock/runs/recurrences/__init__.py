"""Recurrences: their rows, and what people do with them."""
