"""The trade: plain data and pure functions, which can do nothing."""
