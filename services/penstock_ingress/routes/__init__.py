"""The edge: the public port (webhooks, API workflows, Data API) and the admin port (probes, management API)."""
