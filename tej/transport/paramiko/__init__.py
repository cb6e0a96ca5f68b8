"""paramiko transport.  No other package of tej imports paramiko, and this one late."""

from tej.transport.paramiko.transport import ParamikoTransport

__all__ = ["ParamikoTransport"]
