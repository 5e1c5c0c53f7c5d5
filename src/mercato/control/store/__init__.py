"""SQL by table: rows in, the market's data out."""
