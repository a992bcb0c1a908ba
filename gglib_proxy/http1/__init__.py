"""HTTP/1.1 on the wire: reading requests and responses strictly, and writing heads.

Knows bytes and framing; nothing of models, sockets or tasks.
"""
