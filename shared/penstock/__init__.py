"""Penstock: backend workflows that remember every step and can never run away.

What services share and what app authors and internal services import. Services never import each other; this package never
imports a service.
"""
