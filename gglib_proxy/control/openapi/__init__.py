"""The description of gglib's HTTP API: for programs at `/openapi.json`, for people at `/docs`."""
