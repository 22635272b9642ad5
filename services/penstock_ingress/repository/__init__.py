"""The ingress's SQL: deliveries, answers, and what the management API shows."""
