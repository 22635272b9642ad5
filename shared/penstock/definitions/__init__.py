"""What an app is: models, values, fields, parameter checks. Knows nothing of databases and brokers.

A deployed app is the JSON of `models.App`.
"""
