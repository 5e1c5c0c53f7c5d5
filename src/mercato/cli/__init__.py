"""The mercato command."""
