"""Where uploads lie: a port, a directory of this server, and any S3-compatible service."""
