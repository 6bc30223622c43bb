"""PROXY headers of version 2 from a balancer: whose connection it is stands in the log; a header that is
missing, damaged or sent by somebody else closes the connection."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from certificates import Authority  # noqa: E402
from cluster import Cluster, Pgveneer, Scenarios, equal, wait_until  # noqa: E402
from rawpg import SSL_REQUEST, Raw, cancel_request, kinds, startup  # noqa: E402
from tlsraw import TlsRaw  # noqa: E402

HOST = "127.0.0.1"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOGIN = startup([("user", "app"), ("database", "app")])


def header(command=0x21, family=0x11, body=None):
    if body is None:
        body = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack("!HH", 51234, 6432)
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


V6 = header(family=0x21, body=b"\xfd" + bytes(14) + b"\x09" + bytes(16) + struct.pack("!HH", 4711, 6432))


class Proxied(Raw):
    """Sends a header first."""

    def __init__(self, port, first, **more):
        super().__init__(HOST, port, **more)
        self.raw(first)


def taken(t):
    for first, name in ((header(), "app@app 192.0.2.7:51234: connected"), (V6, "app@app [fd00::9]:4711: connected"),
                        (header(body=header()[16:] + b"\x02\0\3abc"), "192.0.2.7:51234"),
                        (header(0x20, 0, b""), "app@app 127.0.0.1:")):
        before = t.log_text().count(name)
        with Proxied(t.port, first) as c:
            c.login()
            equal(kinds(c.query("SELECT 1")), "TDCZI")
        wait_until(lambda: t.log_text().count(name) > before, f"the log says {name!r}")


def in_pieces(t):
    for piece in (1, 7):
        with Proxied(t.port, header(), piece=piece) as c:
            c.login()
    with Proxied(t.port, header() + SSL_REQUEST) as c:
        equal(c.bytes(1), b"S")
    with Proxied(t.port, header() + LOGIN) as c:
        equal(c.message()[0], "R")


def under_tls(t):
    """The header comes before TLS, SSLRequest or not."""
    for direct in (False, True):
        with TlsRaw(HOST, t.port, direct=True, alpn=["postgresql"], handshake=False) as c:
            c.sock.sendall(header() + (b"" if direct else SSL_REQUEST))
            if not direct:
                equal(c.sock.recv(1), b"S")
            c.secure()
            c.login()
    with Proxied(t.port, header()) as c, Proxied(t.port, header()) as canceller:
        c.login()
        c.send(b"Q\0\0\0\x18SELECT pg_sleep(60)\0")
        wait_until(lambda: t.c.direct.sql("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
                                          " AND state = 'active'", user="postgres") == "1", "it sleeps")
        canceller.raw(cancel_request(c.pid, c.key))
        equal(canceller.until_closed(), [])
        equal(kinds(c.until_ready()[-2:]), "EZI")


def refused(t):
    for first in (LOGIN, SSL_REQUEST, b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 6432\r\n", header(family=0x12),
                  header(command=0x22), header(body=b"\0" * 11), header(body=header()[16:] + b"\x02\xff\xff")):
        with Proxied(t.port, first) as c:
            equal(c.until_closed(), [])
    wait_until(lambda: "no PROXY header of version 2, closed" in t.log_text(), "the log says it")
    with Proxied(t.port, SIGNATURE[:5]) as c:  # and then nothing
        c.sock.shutdown(1)
        equal(c.until_closed(), [])


def from_others(t):
    """Who is not listed cannot choose an address."""
    other = t.c.start_proxy("proxy", name="other", proxy_protocol_from="10.0.0.0/8, ::1")
    port = other.settings["listen_port"]
    with Proxied(port, header() + LOGIN) as c:
        equal(c.until_closed(), [])
    with Raw(HOST, port) as c:
        c.login()
    other.stop()


def main():
    s = Scenarios("PROXY protocol")
    with Cluster() as c:
        ca = Authority(c.folder, "ca")
        pair = ca.sign("server", ip=[HOST])
        settings = c.proxy_settings(proxy_protocol_from="10.9.0.0/16, 127.0.0.1", client_tls_sslmode="prefer",
                                    client_tls_cert_file=pair.cert, client_tls_key_file=pair.key)
        t = Pgveneer(c.folder, settings, "proxy")
        c.children.append(t)
        t.start(wait=False)
        t.c, t.port = c, settings["listen_port"]
        wait_until(lambda: "ready on port" in t.log_text(), "it listens")
        s.run("addresses", taken, t)
        s.run("in pieces", in_pieces, t)
        s.run("in front of TLS and of cancel requests", under_tls, t)
        s.run("refused", refused, t)
        s.run("from others", from_others, t)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
