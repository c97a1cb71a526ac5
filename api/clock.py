"""The clocks of the processes on one database, which are not quite the same."""

SKEW = 60
"""Seconds that they may differ by."""
