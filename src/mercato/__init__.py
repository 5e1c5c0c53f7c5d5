"""Mercato: a GPU marketplace that anyone can run."""
