"""Offer search: columns in memory and the query language run over them."""
