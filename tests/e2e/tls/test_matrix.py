"""Who gets TLS and who does not: libpq's sslmode against client_tls_sslmode, and server_tls_sslmode against a
server with and without TLS. libpq is the judge on one leg, the server's pg_stat_ssl on the other. The server
asks for a password in the clear, since SCRAM under TLS on both legs is another story."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from certificates import Authority  # noqa: E402
from cluster import Cluster, Endpoint, Pgveneer, Scenarios, equal, postgresql18, wait_until  # noqa: E402
from rawpg import ServerError  # noqa: E402
from tlsraw import TlsRaw  # noqa: E402

try:
    import psycopg2
except ImportError:  # a python3 of the user's own in front of the system's, which has the package
    if sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
ON_BACKEND = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


class Setting:
    def __init__(self, c):
        self.c, self.ca, self.other_ca = c, Authority(c.folder, "ca"), Authority(c.folder, "other")
        self.server = self.ca.sign("server", dns=["localhost"], ip=["127.0.0.1"])
        self.only_name = self.ca.sign("only_name", dns=["localhost"])
        self.app = self.ca.sign("app").for_client()
        self.stranger = self.other_ca.sign("stranger", cn="app").for_client()
        self.count = 0

    def proxy(self, **settings):
        self.count += 1
        child = Pgveneer(self.c.folder, self.c.proxy_settings(
            log_level="debug", threads=1, client_tls_cert_file=self.server.cert, client_tls_key_file=self.server.key,
            **settings), "proxy", f"proxy{self.count}")
        self.c.children.append(child)
        child.start(wait=False)  # some of them will never reach their server
        wait_until(lambda: "ready on port" in child.log_text() or not child.process.is_running(), "it listens")
        return Endpoint("127.0.0.1", child.settings["listen_port"]), child

    def server_tls(self, pair):
        """Certificate of PostgreSQL; None: ssl=off."""
        c = self.c
        values = {"ssl": "off"} if pair is None else {
            "ssl": "on", "ssl_cert_file": pair.cert, "ssl_key_file": pair.key}
        for name, value in values.items():
            c.direct.sql(f"ALTER SYSTEM SET {name} = '{value}'", user="postgres")
        c.postgres.restart()


def connect(endpoint, mode, user="app", **more):
    return psycopg2.connect(host=endpoint.host, port=endpoint.port, user=user, password=user, dbname="app",
                            sslmode=mode, connect_timeout=20, **more)


def client_sees(endpoint, mode, **more):
    """"TLS", "clear" or the error's words."""
    try:
        connection = connect(endpoint, mode, **more)
    except psycopg2.OperationalError as e:
        return str(e).strip()
    secure = connection.info.ssl_in_use
    connection.close()
    return "TLS" if secure else "clear"


def expect_client(proxy_mode, mode):
    """What libpq must see, with a client certificate that is in order."""
    if proxy_mode == "disable":
        return "clear" if mode in ("disable", "allow", "prefer") else "server does not support SSL"
    if mode == "disable" and proxy_mode not in ("allow", "prefer"):
        return "requires TLS, no encryption"
    if mode == "disable" or (mode == "allow" and proxy_mode in ("allow", "prefer")):
        return "clear"
    return "TLS"


def client_matrix(t):
    for proxy_mode in MODES:
        endpoint, child = t.proxy(client_tls_sslmode=proxy_mode, client_tls_ca_file=t.ca.cert)
        for mode in MODES:
            saw = client_sees(endpoint, mode, sslrootcert=str(t.ca.cert), sslcert=str(t.app.cert),
                              sslkey=str(t.app.key))
            want = expect_client(proxy_mode, mode)
            assert want in saw, f"client_tls_sslmode={proxy_mode}, sslmode={mode}: {saw!r}, not {want!r}"
        child.stop()


def client_certificates(t):
    nothing = {"sslcert": "/nonexistent", "sslkey": "/nonexistent"}
    app = {"sslcert": str(t.app.cert), "sslkey": str(t.app.key)}
    stranger = {"sslcert": str(t.stranger.cert), "sslkey": str(t.stranger.key)}
    for mode in ("verify-ca", "verify-full"):
        endpoint, child = t.proxy(client_tls_sslmode=mode, client_tls_ca_file=t.ca.cert)
        assert "connection requires a valid client certificate" in client_sees(endpoint, "require", **nothing)
        saw = client_sees(endpoint, "require", **stranger)
        assert "unknown ca" in saw or "closed" in saw or "reset" in saw, saw
        equal(client_sees(endpoint, "require", **app), "TLS")
        saw = client_sees(endpoint, "require", user="service", **app)
        if mode == "verify-ca":
            equal(saw, "TLS", "another user's name")
        else:
            assert 'certificate authentication failed for user "service"' in saw, saw
        try:
            with TlsRaw(endpoint.host, endpoint.port) as raw:
                raw.login()
        except ServerError as e:
            equal(e.sqlstate, "28000", str(e))
        child.stop()


def clients_verify(t):
    """libpq refuses us where the certificate is not what it wants."""
    endpoint, child = t.proxy(client_tls_sslmode="prefer")
    saw = client_sees(endpoint, "verify-ca", sslrootcert=str(t.other_ca.cert))
    assert "certificate verify failed" in saw, saw
    name = Endpoint("localhost", endpoint.port)
    equal(client_sees(name, "verify-full", sslrootcert=str(t.ca.cert)), "TLS")
    child.stop()
    child.settings["client_tls_cert_file"], child.settings["client_tls_key_file"] = t.only_name.cert, t.only_name.key
    child.start()
    saw = client_sees(endpoint, "verify-full", sslrootcert=str(t.ca.cert))
    assert "does not match host name" in saw, saw
    equal(client_sees(name, "verify-full", sslrootcert=str(t.ca.cert)), "TLS")
    child.stop()


def unix_sockets(t):
    """No TLS there, and none is demanded."""
    endpoint, child = t.proxy(client_tls_sslmode="require", unix_socket_dir=t.c.folder)
    local = Endpoint(str(t.c.folder), endpoint.port)
    equal(client_sees(local, "prefer"), "clear")
    child.stop()


def backend_sees(endpoint, mode="prefer"):
    """"t" or "f" of the server's view, or the error."""
    try:
        connection = connect(endpoint, mode)
    except psycopg2.OperationalError as e:
        return str(e)
    with connection.cursor() as cursor:
        cursor.execute(ON_BACKEND)
        secure = cursor.fetchone()[0]
    connection.close()
    return "t" if secure else "f"


UNAVAILABLE = "the database system is not available"


def server_matrix(t, server_has_tls):
    for mode in MODES:
        endpoint, child = t.proxy(client_tls_sslmode="prefer", server_tls_sslmode=mode, server_tls_ca_file=t.ca.cert)
        saw = backend_sees(endpoint, "disable")
        equal(backend_sees(endpoint, "require"), saw, "the client's leg does not matter")
        if server_has_tls:
            equal(saw, "f" if mode == "disable" else "t", f"server_tls_sslmode={mode}")
        elif mode in ("disable", "allow", "prefer"):
            equal(saw, "f", f"server_tls_sslmode={mode}")
        else:
            assert UNAVAILABLE in saw, saw
            assert "server does not support TLS, but TLS was required" in child.log_text(), child.log_text()
        child.stop()


def refuses_server(t, words, **settings):
    endpoint, child = t.proxy(client_tls_sslmode="prefer", **settings)
    saw = backend_sees(endpoint)
    assert UNAVAILABLE in saw, saw
    assert words in child.log_text(), child.log_text()
    child.stop()


def wrong_authority(t):
    refuses_server(t, "unable to get local issuer certificate", server_tls_sslmode="verify-ca",
                   server_tls_ca_file=t.other_ca.cert)


def wrong_name(t):
    t.server_tls(t.only_name)
    by_name = f"host=localhost port={t.c.postgres.port}"
    refuses_server(t, "IP address mismatch", server_tls_sslmode="verify-full", server_tls_ca_file=t.ca.cert)
    endpoint, child = t.proxy(server_tls_sslmode="verify-full", server_tls_ca_file=t.ca.cert, backend=by_name)
    equal(backend_sees(endpoint), "t", "by name")
    child.stop()
    endpoint, child = t.proxy(server_tls_sslmode="verify-ca", server_tls_ca_file=t.ca.cert)
    equal(backend_sees(endpoint), "t", "verify-ca does not look at names")
    child.stop()


def our_certificate(t):
    """The server asks us for a certificate."""
    c = t.c
    c.direct.sql(f"ALTER SYSTEM SET ssl_ca_file = '{t.ca.cert}'", user="postgres")
    hba = c.postgres.data / "pg_hba.conf"
    old = hba.read_text()
    hba.write_text("hostssl all app 127.0.0.1/32 password clientcert=verify-full\n" + old)
    t.server_tls(t.only_name)
    pair = t.ca.sign("login", cn="app")
    endpoint, child = t.proxy(server_tls_sslmode="require")
    saw = backend_sees(endpoint)
    assert "connection requires a valid client certificate" in saw, saw
    child.stop()
    endpoint, child = t.proxy(server_tls_sslmode="require", server_tls_cert_file=pair.cert,
                              server_tls_key_file=pair.key)
    equal(backend_sees(endpoint), "t")
    child.stop()
    hba.write_text(old)
    c.direct.sql("SELECT pg_reload_conf()", user="postgres")


def direct_tls(t):
    """libpq 18 begins with the handshake; psql 15 uses it with that library."""
    library = {"LD_LIBRARY_PATH": str(postgresql18() / "lib"), "PGSSLNEGOTIATION": "direct"}
    endpoint, child = t.proxy(client_tls_sslmode="require", server_tls_sslmode="require")
    out = endpoint.psql("-c", "\\conninfo", PGSSLMODE="verify-ca", PGSSLROOTCERT=str(t.ca.cert), **library)
    assert "SSL connection" in out.stdout, out.stderr
    out = endpoint.psql("-Atc", "SELECT 1", PGSSLMODE="require", **library)
    equal(out.stdout.strip(), "1", out.stderr)
    child.stop()
    endpoint, child = t.proxy(client_tls_sslmode="disable")
    out = endpoint.psql("-Atc", "SELECT 1", PGSSLMODE="require", **library)
    assert out.returncode != 0, "no TLS, and yet"
    child.stop()


def service_login(t):
    """The control connection and the jobs' libpq reach the server under TLS as the string says."""
    base = f"host=127.0.0.1 port={t.c.postgres.port} user=service password=service"
    show = "SELECT count(*) FROM pg_task_show('SQLonHudi')"
    used = ("SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
            "WHERE application_name = 'pgveneer control'")
    t.server_tls(t.server)
    for string, want in ((base, "t"), (base + " sslmode=disable", "f"),
                         (base + f" sslmode=verify-full sslrootcert={t.ca.cert}", "t"),
                         (base + f" sslmode=verify-ca sslrootcert={t.other_ca.cert}", "08006")):
        endpoint, child = t.proxy(service=string)
        try:
            equal(endpoint.sql(show), "0")
            equal(t.c.direct.sql(used, user="postgres"), want)
        except AssertionError:
            raise
        except Exception as e:
            assert want in str(e), f"{string}: {e}"
        child.stop()


def main():
    s = Scenarios("TLS, matrix")
    with Cluster(auth="password") as c:
        t = Setting(c)
        s.run("sslmode of clients, all pairs", client_matrix, t)
        s.run("certificates of clients", client_certificates, t)
        s.run("clients that verify us", clients_verify, t)
        s.run("unix sockets", unix_sockets, t)
        s.run("a server without TLS, all modes", server_matrix, t, False)
        t.server_tls(t.server)
        s.run("a server with TLS, all modes", server_matrix, t, True)
        s.run("server with a certificate of another authority", wrong_authority, t)
        s.run("server with a certificate for another name", wrong_name, t)
        s.run("our certificate towards the server", our_certificate, t)
        s.run("direct TLS of libpq 18", direct_tls, t)
        s.run("the service login", service_login, t)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
