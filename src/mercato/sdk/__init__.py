"""Mercato's API as Python."""
