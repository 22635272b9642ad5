"""HTTP that leaves the house: which addresses may be reached, the client that sees to it, and signed webhooks."""
