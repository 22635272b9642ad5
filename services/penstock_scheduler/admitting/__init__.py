"""Wanted runs become rows, and due rows become messages; what wakes the loops."""
