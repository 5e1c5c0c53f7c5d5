"""The public door for hosts that cannot be reached directly."""
