"""Imports: a file becomes things, in batches."""
