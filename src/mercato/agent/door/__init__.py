"""The way into an instance: an SSH server of the agent's, into any image, without one inside."""
