"""Learning: what a fleet makes of examples and of its own ledger, on demand and never by itself.

May use the floors below (steps, routing, backends); nothing below knows of it.
"""
