"""The schema's one line of history, as numbered SQL files."""
