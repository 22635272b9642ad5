"""The ingress's verbs: accept, answer, show. They know requests and replies as values, and nothing of aiohttp."""
