"""What requests say, in the words of three APIs, checked as each of them checks it.

Not here: the endpoints that ask for it (`inference.py`, `text_inference.py`, `vectors.py`).
"""
