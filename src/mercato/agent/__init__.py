"""The agent: what runs on each host."""
