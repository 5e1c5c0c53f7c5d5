"""What the agent finds out about its host: one fact per module."""
