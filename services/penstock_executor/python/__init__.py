"""Performs workflows and actions in Python."""
