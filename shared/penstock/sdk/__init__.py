"""Workflows and actions in Python: what authors import, how their modules are imported, and what is made of their
functions.

A function becomes an ordinary `Workflow` without steps, `python="module:function"`. What performs it is an executor:
here is only the interface that it fills in (`context.Engine`).
"""
