"""What runs write, many runs in one transaction: effects, records, log lines, requests for children."""
