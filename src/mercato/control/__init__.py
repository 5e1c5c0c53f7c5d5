"""The control plane: the API, the loops and the only truth."""
