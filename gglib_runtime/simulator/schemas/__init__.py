"""JSON schemas: what is wrong with one, and values that are valid for one.

Knows nothing of requests and answers.
"""
