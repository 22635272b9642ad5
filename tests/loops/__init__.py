"""Forty loops with their verdicts: twenty that are meant, and twenty runaways."""
