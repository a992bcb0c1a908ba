"""API keys in the database: made, changed, and followed by a running server."""
