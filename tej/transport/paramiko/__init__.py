"""paramiko transport: SSH in Python; no other package of tej imports paramiko."""

from tej.transport.paramiko.transport import ParamikoTransport

__all__ = ["ParamikoTransport"]
