"""Everything HTTP: the data plane that relays inference, and the control plane behind it.

Depends on the ports of gglib_core alone; what fills them is decided in gglib_runtime.
"""
