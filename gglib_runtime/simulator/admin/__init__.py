"""What an endpoint tells of itself, and lets be changed while it runs; imported on first use."""
