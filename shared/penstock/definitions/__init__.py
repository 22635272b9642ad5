"""What app authors write: models of an app, the loader that reads an app directory, expressions, and parameter checks.

Knows nothing of databases and brokers. A deployed app is the JSON of `models.App`.
"""
