"""HTTP/1.1 for the data paths: a server, a client and a relay over plain asyncio protocols."""
