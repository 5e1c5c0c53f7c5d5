"""The verbs, each file a story told in order."""
