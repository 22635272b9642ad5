"""The console in a real browser, against the three services as real processes."""
