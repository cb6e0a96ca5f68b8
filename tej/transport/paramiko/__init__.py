"""A server reached over SSH.  Only this folder knows paramiko, and imports it late."""

from tej.transport.paramiko.transport import SshTransport

__all__ = ["SshTransport"]
