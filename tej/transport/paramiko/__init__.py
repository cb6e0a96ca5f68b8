"""paramiko transport: the only package of tej that imports paramiko, on first use."""

from tej.transport.paramiko.transport import ParamikoTransport

__all__ = ["ParamikoTransport"]
