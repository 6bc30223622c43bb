"""SIGHUP and `pgveneer check`: certificates and settings change while clients are connected; what is wrong
leaves what was in force, and is told."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from certificates import Authority, give  # noqa: E402
from cluster import Cluster, Scenarios, build_dir, equal, wait_until  # noqa: E402
from rawpg import Raw, values  # noqa: E402
from tlsraw import TlsRaw  # noqa: E402

HOST = "127.0.0.1"


class Setting:
    def __init__(self, c):
        self.c, self.ca = c, Authority(c.folder, "ca")
        self.first, self.second = self.ca.sign("first"), self.ca.sign("second")
        self.in_use = self.ca.sign("in_use")
        self.put(self.first)
        self.child = c.start_proxy("run", client_tls_sslmode="prefer", client_tls_cert_file=self.in_use.cert,
                                   client_tls_key_file=self.in_use.key)
        self.port = self.child.settings["listen_port"]
        self.seen = 0

    def put(self, pair):
        """This pair lies in the configured files from now on."""
        for source, target in ((pair.cert, self.in_use.cert), (pair.key, self.in_use.key)):
            target.write_bytes(source.read_bytes())
            give(target)

    def configure(self, **settings):
        self.child.settings.update(settings)
        path = self.c.folder / "pgveneer.conf"
        path.write_text("".join(f"{k} = '{v}'\n" for k, v in self.child.settings.items()))

    def reload(self, words):
        """SIGHUP to the supervisor; waits until the log has these words once more."""
        before = self.child.log_text().count(words)
        self.child.process.kill(signal.SIGHUP)
        wait_until(lambda: self.child.log_text().count(words) > before, f"the log says {words!r}")

    def name(self):
        """Common name of the certificate that a new client sees."""
        with TlsRaw(HOST, self.port, ca=self.ca.cert) as c:
            return dict(part[0] for part in c.tls.getpeercert()["subject"])["commonName"]


def sessions_stay(t):
    with TlsRaw(HOST, t.port) as secure, Raw(HOST, t.port) as clear:
        secure.login()
        clear.login()
        secure.query("BEGIN; CREATE TEMP TABLE mine AS SELECT 7 AS a")
        equal(t.name(), "first")
        t.put(t.second)
        t.reload("reloaded")
        equal(t.name(), "second")
        for c in (secure, clear):
            equal(values(c.query("SELECT 6 * 7")), [["42"]])
        equal(values(secure.query("SELECT a FROM mine")), [["7"]])


def bad_files(t):
    t.put(t.second)
    t.reload("reloaded")
    for data in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", t.first.cert.read_bytes()):
        t.in_use.cert.write_bytes(data)
        t.reload("certificates in force stay")
        equal(t.name(), "second")
    t.in_use.cert.unlink()
    t.reload("cannot open the file")
    equal(t.name(), "second")
    t.put(t.first)
    t.reload("reloaded")
    equal(t.name(), "first")


def settings_change(t):
    t.configure(log_level="debug", client_tls_sslmode="require", client_tls_cert_file=t.second.cert,
                client_tls_key_file=t.second.key)
    t.reload("reloaded")
    equal(t.name(), "second")
    with Raw(HOST, t.port) as c:
        c.start()
        equal(c.until_closed()[0][0], "E", "in the clear")
    assert '"log_level" is now "debug"' in t.child.log_text()
    assert "STARTUP -> " in t.child.log_text(), "no debug lines"
    t.configure(threads="3", client_tls_sslmode="prefer")
    t.reload("reloaded")
    assert '"threads" cannot be changed without a restart' in t.child.log_text()
    with Raw(HOST, t.port) as c:
        c.login()


def bad_settings(t):
    """All of it stays, with file and line in the log; certificates are read all the same."""
    t.configure(client_tls_cert_file=t.in_use.cert, client_tls_key_file=t.in_use.key)
    t.put(t.first)
    t.reload("reloaded")
    t.configure(client_tls_sslmode="sometimes", log_level="info")
    t.put(t.second)
    t.reload("pgveneer.conf:")
    wait_until(lambda: t.name() == "second", "the certificate is the new one")
    with Raw(HOST, t.port) as c:
        c.login()
    assert '"log_level" is now "info"' not in t.child.log_text()
    t.configure(client_tls_sslmode="prefer")
    t.reload("reloaded")


def a_proxy_that_starts_again(t):
    """It has the settings of the last reload, not those of the first start."""
    t.configure(client_tls_cert_file=t.first.cert, client_tls_key_file=t.first.key)
    t.reload("reloaded")
    children = f"/proc/{t.child.process.pid}/task/{t.child.process.pid}/children"
    pids = [int(p) for p in open(children).read().split()]
    proxy = next(p for p in pids if open(f"/proc/{p}/comm").read().strip() == "pgv-proxy")
    before = t.child.log_text().count("ready on port")
    os.kill(proxy, signal.SIGKILL)
    wait_until(lambda: t.child.log_text().count("ready on port") > before, "it is back")
    equal(t.name(), "first")


def check(t):
    c = t.c
    expired = t.ca.sign("expired", days=-1)
    soon = t.ca.sign("soon", days=3)
    base = {"backend": f"host=127.0.0.1 port={c.postgres.port}",
            "service": f"host=127.0.0.1 port={c.postgres.port} user=service password=service"}

    def call(**settings):
        args = [x for k, v in {**base, **settings}.items() for x in ("--set", f"{k}={v}")]
        done = subprocess.run([build_dir() / "pgveneer", "check", *args], text=True, capture_output=True)
        return done.returncode, done.stdout

    def client(cert, key=None):
        return {"client_tls_sslmode": "require", "client_tls_cert_file": cert.cert,
                "client_tls_key_file": (key or cert).key}
    code, out = call(**client(t.ca.sign("long", days=300)))
    equal(code, 0, out)
    assert "is valid until" in out and "TLS towards clients: require" in out, out
    for settings, words, want in (
            (client(soon), "warning  TLS towards clients: the certificate of", 0),
            (client(expired), "expired on", 1),
            (client(t.first, t.second), "key values mismatch", 1),
            ({"client_tls_sslmode": "require"}, "needs a certificate file", 1),
            ({"server_tls_sslmode": "verify-full", "server_tls_ca_file": "/nonexistent"}, "/nonexistent", 1),
            ({"server_tls_sslmode": "require"}, "server does not support SSL", 1),
            ({"service": base["service"] + " sslmode=verify-ca sslrootcert=/nonexistent"}, "/nonexistent", 1)):
        code, out = call(**settings)
        equal(code, want, out)
        assert words in out, f"{words!r} is not in\n{out}"
    if os.getuid() == 0:  # what root can read and the user cannot
        os.chown(t.first.key, 0, 0)
        code, out = call(**client(t.first))
        equal(code, 1, out)
        assert "Permission denied" in out, out
        give(t.first.key)
    t.first.key.chmod(0o644)
    code, out = call(**client(t.first))
    equal(code, 0, out)
    assert "everybody may read or write the key file" in out, out
    give(t.first.key)


def main():
    s = Scenarios("TLS, reload")
    with Cluster(auth="password") as c:
        t = Setting(c)
        s.run("sessions stay, new ones see the new certificate", sessions_stay, t)
        s.run("files that are of no use", bad_files, t)
        s.run("settings that change", settings_change, t)
        s.run("settings that are wrong", bad_settings, t)
        s.run("a proxy that starts again", a_proxy_that_starts_again, t)
        s.run("pgveneer check", check, t)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
