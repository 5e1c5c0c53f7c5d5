"""What crosses a process boundary: messages only."""
