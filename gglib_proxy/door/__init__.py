"""The door: what is decided about a request from its head alone, before anything is done for it."""
