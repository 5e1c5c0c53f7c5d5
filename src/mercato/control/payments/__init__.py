"""How money comes in and goes out: one port, several providers."""
