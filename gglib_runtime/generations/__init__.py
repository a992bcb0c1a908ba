"""The record of generations in the database: written, read, and kept for as long as is wanted."""
