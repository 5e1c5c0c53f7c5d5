"""Programs for the repository itself; `make` calls them."""
