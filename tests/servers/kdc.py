"""Kerberos KDC for tests, with one user and the service of sshd."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from jobs import wait_until
from servers.sshd import free_port

REALM = "TEJ.TEST"
PASSWORD = "sesame"


class Kdc:
    """A running KDC; `environment` is for all programs that use the KDC."""

    def __init__(self, folder: Path, user: str, address: str) -> None:
        self.folder = folder
        self.user = user
        self.address = address
        self.environment = {
            "KRB5_CONFIG": str(folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
            "KRB5_KTNAME": str(folder / "keytab"),
            "KRB5CCNAME": f"FILE:{folder}/tickets",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Kdc:
        self.folder.mkdir()
        port = free_port(self.address)
        (self.folder / "krb5.conf").write_text(
            f"[libdefaults]\ndefault_realm = {REALM}\ndns_lookup_kdc = false\n"
            "dns_canonicalize_hostname = false\nrdns = false\n"
            f"[realms]\n{REALM} = {{\nkdc = {self.address}:{port}\n}}\n"
            f"[domain_realm]\n{self.address} = {REALM}\n"
        )
        (self.folder / "kdc.conf").write_text(
            f"[kdcdefaults]\nkdc_listen = {self.address}:{port}\n"
            f"kdc_tcp_listen = {self.address}:{port}\n"
            f"[realms]\n{REALM} = {{\ndatabase_name = {self.folder}/principals\n"
            f"key_stash_file = {self.folder}/stash\n}}\n"
        )
        self._run("kdb5_util", "-r", REALM, "-P", "master", "create", "-s")
        service = f"host/{self.address}"
        for query in (
            f"addprinc -pw {PASSWORD} {self.user}",
            f"addprinc -randkey {service}",
            f"ktadd -k {self.folder}/keytab {service}",
        ):
            self._run("kadmin.local", "-r", REALM, "-q", query)
        self._process = subprocess.Popen(
            ["krb5kdc", "-n", "-r", REALM],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def get_ticket(self) -> None:
        """Log the user in; until the KDC listens, `kinit` fails."""
        wait_until(lambda: self._works("kinit", self.user), "the user has a ticket")

    def _run(self, *words: str) -> None:
        assert self._works(*words), words

    def _works(self, *words: str) -> bool:
        done = subprocess.run(
            words,
            env={**os.environ, **self.environment},
            input=PASSWORD.encode() + b"\n",
            capture_output=True,
        )
        return done.returncode == 0
