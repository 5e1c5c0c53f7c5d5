"""Ready workers for common kinds of model servers."""
