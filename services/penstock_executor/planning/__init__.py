"""The deployed apps as plans, ready to be performed."""
