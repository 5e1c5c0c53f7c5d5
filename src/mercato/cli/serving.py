"""`mercato serve`: run the control plane."""
