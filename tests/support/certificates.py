"""Certificates for tests: an authority and what it signs, made by the openssl command.

    ca = Authority(folder, "ca")                      # folder/ca.crt, folder/ca.key
    server = ca.sign("server", dns=["db.test"], ip=["127.0.0.1"])
    server.cert, server.key                           # paths; readable by user postgres
"""
import os
import pathlib
import shutil
import subprocess


def openssl(*args, stdin=""):
    done = subprocess.run(["openssl", *map(str, args)], input=stdin, text=True, capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f"openssl {args[0]}: {done.stderr}")
    return done.stdout


def give(path):
    """To who runs servers and proxies; nobody else may read it, which PostgreSQL asks of keys."""
    path.chmod(0o600)
    if os.getuid() == 0:
        shutil.chown(path, "postgres", "postgres")


class Pair:
    """A certificate and its key."""

    def __init__(self, folder, name):
        self.cert, self.key = pathlib.Path(folder) / f"{name}.crt", pathlib.Path(folder) / f"{name}.key"

    def for_client(self):
        """A copy whose key libpq takes: it must be ours."""
        mine = Pair(self.cert.parent, self.cert.stem + "_client")
        shutil.copy(self.cert, mine.cert)
        shutil.copy(self.key, mine.key)
        mine.key.chmod(0o600)
        return mine


def make_key(path, algorithm):
    args = ["-algorithm", algorithm]
    if algorithm == "EC":
        args += ["-pkeyopt", "ec_paramgen_curve:P-256"]
    elif algorithm == "RSA":
        args += ["-pkeyopt", "rsa_keygen_bits:2048"]
    openssl("genpkey", *args, "-out", path)


class Authority(Pair):
    def __init__(self, folder, name, algorithm="EC"):
        super().__init__(folder, name)
        make_key(self.key, algorithm)
        openssl("req", "-x509", "-new", "-key", self.key, "-subj", f"/CN={name}", "-days", "10", "-out", self.cert,
                "-addext", "basicConstraints=critical,CA:TRUE")
        self.serial = 1

    def sign(self, name, cn=None, dns=(), ip=(), algorithm="EC", digest="sha256", days=10):
        pair = Pair(self.cert.parent, name)
        make_key(pair.key, algorithm)
        request = openssl("req", "-new", "-key", pair.key, "-subj", f"/CN={cn or name}")
        names = ",".join([f"DNS:{d}" for d in dns] + [f"IP:{i}" for i in ip])
        extensions = self.cert.parent / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n" if names else "basicConstraints=CA:FALSE\n")
        self.serial += 1
        openssl("x509", "-req", "-CA", self.cert, "-CAkey", self.key, "-set_serial", self.serial, "-days", days,
                "-" + digest, "-extfile", extensions, "-out", pair.cert, stdin=request)
        give(pair.key)
        return pair
