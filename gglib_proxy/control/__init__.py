"""The control plane: everything that is not inference, as a Quart app behind a private socket.

Importing this package is cheap; its modules `app` and `server` import Quart and Hypercorn.
"""
