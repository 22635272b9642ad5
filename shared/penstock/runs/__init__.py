"""What creates and ends runs, and what they belong to: admission, idempotency, chains, lists, waits, recurrences,
terminations.
"""
