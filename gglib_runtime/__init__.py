"""The adapters: engines, catalog, settings, command line, and the one place that composes them."""
