"""The swap ledger in the database: written, read, and kept no longer than the owner wants."""
