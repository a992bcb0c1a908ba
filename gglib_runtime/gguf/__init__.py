"""GGUF files: what they say (`description` is the way in), and writing tiny ones (`demo`)."""
