"""Ways of connecting and authenticating: every cell of the tables of README.md ("TLS and authentication"), which
this test reads, with libpq; then the same legs with drivers that have a protocol of their own. The server
asks for SCRAM, md5, a password, nothing (trust), or rejects, and has TLS; where its leg is plain, the proxy does not use it."""
import asyncio
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from certificates import Authority  # noqa: E402
from cluster import JAVA, ROOT, Cluster, Scenarios, build_dir, equal  # noqa: E402
from rawpg import SSL_REQUEST, Raw, cstr, fields, message  # noqa: E402

try:
    import asyncpg
    import pg8000
    import psycopg2
except ImportError:  # a python3 of the user's own in front of the system's, which has the packages
    if sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

HBA = """local all postgres trust
host all postgres,service 127.0.0.1/32 scram-sha-256
local all u_trust trust
local all u_reject reject
local all u_password password
local all u_md5 md5
host all u_trust all trust
host all u_reject all reject
host all u_password all password
host all u_md5 all md5
host all all all scram-sha-256
local all all scram-sha-256
"""
EXPLAINED = "or set auth = terminate."
BINDINGS = ("disable", "prefer", "require")
CLIENT_REFUSES = ("server did not offer an authentication method that supports channel binding",
                  "channel binding required, but SSL not in use",
                  "channel binding is required, but server did not offer",
                  "channel binding required but not supported by server's authentication request")


def readme_tables():
    """The two tables of the section, as lists of rows of texts."""
    section = (ROOT / "README.md").read_text().split("## TLS and authentication")[1].split("\n## ")[0]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")]
            for line in section.splitlines() if line.startswith("|")]
    header = [i for i, row in enumerate(rows) if set(row[0]) <= set("-")]
    equal(len(header), 2, "tables in the section")
    return rows[1 + 1:header[1] - 1], rows[header[1] + 1:]


class Setting:
    """A server with TLS, and a proxy for each row of the first table."""

    def __init__(self, c):
        self.c = c
        ca = Authority(c.folder, "ca")
        self.same = ca.sign("server", dns=["localhost"], ip=["127.0.0.1"], algorithm="RSA")
        self.other = ca.sign("other", dns=["localhost"], ip=["127.0.0.1"], algorithm="RSA")
        self.ca = ca
        self.proxies = {}
        c.postgres.settings.update(ssl="on", ssl_cert_file=self.same.cert, ssl_key_file=self.same.key)

    def prepare(self):
        def admin(text):
            self.c.direct.sql(text, user="postgres", dbname="postgres")
        for user in ("u_scram", "u_password", "u_trust", "u_reject"):
            admin(f"CREATE ROLE {user} LOGIN PASSWORD 'geheim'")
        admin("SET password_encryption = 'md5'; CREATE ROLE u_md5 LOGIN PASSWORD 'geheim'")
        (self.c.postgres.data / "pg_hba.conf").write_text(HBA)
        admin("SELECT pg_reload_conf()")

    def proxy(self, client, server, certificate, auth, **more):
        key = (client, server, certificate, auth)
        if key in self.proxies:
            return self.proxies[key]
        pair = self.same if certificate == "the server's" else self.other
        settings = {"auth": auth, "client_tls_sslmode": "require" if client == "TLS" else "disable",
                    "server_tls_sslmode": "require" if server == "TLS" else "disable", "threads": "1"}
        if server == "unix socket":
            settings["backend"] = f"host={self.c.postgres.socket_dir} port={self.c.postgres.port}"
        if client == "TLS":
            settings.update(client_tls_cert_file=pair.cert, client_tls_key_file=pair.key)
        child = self.c.start_proxy("proxy", name=f"proxy{len(self.proxies)}", **{**settings, **more})
        self.proxies[key] = child
        return child


def connect(child, user, binding="prefer", password="geheim", sslmode=None):
    """'works', or the error's text."""
    if sslmode is None:
        sslmode = "require" if child.settings["client_tls_sslmode"] == "require" else "disable"
    try:
        connection = psycopg2.connect(host="127.0.0.1", port=child.settings["listen_port"], user=user, dbname="app",
                                      password=password, sslmode=sslmode, channel_binding=binding)
    except psycopg2.OperationalError as e:
        return str(e).strip()
    cursor = connection.cursor()
    cursor.execute("SELECT session_user::text, (SELECT count(*) FROM generate_series(1, 1000))")
    equal(cursor.fetchone(), (user, 1000))
    connection.close()
    return "works"


def outcome(text):
    """The README's word for what connect returned."""
    if text == "works":
        return text
    if any(words in text for words in CLIENT_REFUSES):
        return "client refuses"
    if "SCRAM channel binding check failed" in text:
        return "server refuses"
    return text


def rows_of(row):
    """A README row says "plain" for a server's leg: by TCP, and by a unix socket."""
    client, server, certificate, auth = row[:4]
    for one in ["plain", "unix socket"] if server == "plain" else [server]:
        yield client, one, certificate, auth


def check_topologies(s, setting, rows):
    for row in rows:
        for key in rows_of(row):
            @s.scenario("; ".join(filter(None, key)))
            def _():
                child = setting.proxy(*key)
                for binding, wanted in zip(BINDINGS, row[4:]):
                    got = connect(child, "u_scram", binding)
                    equal(outcome(got), wanted, f"{binding}: {got}")
                wrong = connect(child, "u_scram", "disable", "falsch")
                assert 'FATAL:  password authentication failed for user "u_scram"' in wrong, wrong
                cannot = "server refuses" in row[4:]
                lines = [line for line in child.log_text().splitlines() if EXPLAINED in line]
                equal(len([line for line in lines if " proxy: configuration: " in line]), int(cannot), "at the start")
                equal(len([line for line in lines if " u_scram@app " in line]), row[4:].count("server refuses"), "at a login")
                check(child, cannot)


def check(child, cannot):
    """What pgveneer check says of the proxy's configuration."""
    done = subprocess.run([build_dir() / "pgveneer", "check", "-c", child.folder / f"{child.name}.conf"], text=True,
                          capture_output=True, timeout=120)
    equal((done.returncode, EXPLAINED in done.stdout), (0, cannot), done.stdout + done.stderr)


def check_methods(s, setting, topologies, methods):
    for row in topologies:
        for key in rows_of(row):
            @s.scenario("methods: " + "; ".join(filter(None, key)))
            def _():
                child = setting.proxy(*key)
                for method, user, words in methods:
                    got = connect(child, user, "disable")
                    assert words in got, f"{method}: {got}"
                    if words == "works" and key[0] == "TLS" and method != "scram-sha-256":
                        equal(outcome(connect(child, user, "prefer")), "works", method)
                    if words == "works":
                        wrong = connect(child, user, "disable", "falsch")
                        assert f'password authentication failed for user "{user}"' in wrong, wrong


# ---- drivers --------------------------------------------------------------------------------


def by_asyncpg(port, tls):
    async def run():
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = await asyncpg.connect(host="127.0.0.1", port=port, user="u_scram", password="geheim",
                                           database="app", ssl=context if tls else False)
        value = await connection.fetchval("SELECT $1::int + 1", 41)
        await connection.close()
        return value
    return asyncio.run(run())


def by_pg8000(port, tls):
    connection = pg8000.connect(host="127.0.0.1", port=port, user="u_md5", password="geheim", database="app", ssl=tls)
    cursor = connection.cursor()
    cursor.execute("SELECT 42")
    value = cursor.fetchone()[0]
    connection.close()
    return value


def by_jdbc(children):
    """One JVM for all: SCRAM by every way, the other methods by the last."""
    children = list(children)
    last = children[-1]
    urls = [f"jdbc:postgresql://127.0.0.1:{child.settings['listen_port']}/app?user={user}&password=geheim&sslmode="
            f"{'require' if child.settings['client_tls_sslmode'] == 'require' else 'disable'}"
            for child, user in [*((child, "u_scram") for child in children), (last, "u_md5"), (last, "u_password")]]
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Login.java")
    done = subprocess.run([*JAVA, program, *urls], text=True,
                          capture_output=True, timeout=300)
    equal((done.returncode, done.stdout), (0, "works\n" * len(urls)), done.stderr)


def check_drivers(s, setting):
    for name, driver in (("asyncpg", by_asyncpg), ("pg8000", by_pg8000)):
        @s.scenario(f"{name} by every way")
        def _():
            for key, child in setting.proxies.items():
                equal(driver(child.settings["listen_port"], key[0] == "TLS"), 42, "; ".join(key))

    @s.scenario("pgjdbc by every way")
    def _():
        by_jdbc(setting.proxies.values())


def check_certificates(s, setting):
    """The hash of the binding follows the certificate's signature."""
    for algorithm, digest, wanted in (("RSA", "sha384", "works"), ("EC", "sha512", "works"),
                                      ("ED25519", "sha256", "client refuses")):
        @s.scenario(f"terminate with a certificate of {algorithm}, {digest}")
        def _():
            pair = setting.ca.sign(f"{algorithm}_{digest}", ip=["127.0.0.1"], algorithm=algorithm, digest=digest)
            if algorithm == "ED25519":  # signed by a key of that kind: no hash of its own
                pair = Authority(setting.c.folder, "ed", algorithm="ED25519").sign("ed25519", algorithm="ED25519")
            child = setting.c.start_proxy("proxy", name=f"cert_{algorithm}_{digest}", auth="terminate", threads="1",
                                          client_tls_sslmode="require", server_tls_sslmode="require",
                                          client_tls_cert_file=pair.cert, client_tls_key_file=pair.key)
            for binding in ("disable", "prefer"):
                equal(connect(child, "u_scram", binding), "works", binding)
            equal(outcome(connect(child, "u_scram", "require")), wanted, "require")
            child.stop()


def check_pretender(s, setting):
    @s.scenario("a client without TLS that says it could bind")
    def _():
        child = setting.proxy("plain", "TLS", "", "relay")
        with Raw("127.0.0.1", child.settings["listen_port"], user="u_scram", dbname="app") as r:
            r.start()
            equal(r.message(), ("R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"), "the list without PLUS")
            first = b"y,,n=,r=abc"
            r.send(message("p", cstr("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first))
            equal(fields(r.until_closed()[-1][1])["M"], "SCRAM channel binding negotiation error")
        assert "login will fail: the client has no TLS" in child.log_text(), child.log_text()


class Between:
    """Somebody between pgveneer and the server, with TLS to both and a certificate of its own."""

    def __init__(self, setting):
        self.server_port = setting.c.postgres.port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(setting.other.cert, setting.other.key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.sessions = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        server = socket.create_connection(("127.0.0.1", self.server_port))
        client.recv(8, socket.MSG_WAITALL)
        client.sendall(b"S")
        server.sendall(SSL_REQUEST)
        server.recv(1)
        outward = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        outward.check_hostname, outward.verify_mode = False, ssl.CERT_NONE
        pair = self.context.wrap_socket(client, server_side=True), outward.wrap_socket(server)
        self.sessions += 1
        threading.Thread(target=self.copy, args=pair, daemon=True).start()
        self.copy(*reversed(pair))

    @staticmethod
    def copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def check_between(s, setting):
    @s.scenario("nobody can stand between pgveneer and the server")
    def _():
        between = Between(setting)
        backend = f"host=127.0.0.1 port={between.port}"
        for mode, wanted in (("terminate", "SCRAM channel binding check failed"), ("relay", "works")):
            child = setting.c.start_proxy("proxy", name=f"between_{mode}", auth=mode, threads="1", backend=backend,
                                          client_tls_sslmode="disable", server_tls_sslmode="require")
            got = connect(child, "u_scram")  # relayed, a plain client cannot bind: it sees nothing wrong
            assert wanted in got, f"{mode}: {got}"
            child.stop()
        assert between.sessions >= 2, between.sessions
        between.listener.close()


def main():
    s = Scenarios("matrix")
    topologies, methods = readme_tables()
    equal((len(topologies), len(methods)), (10, 5), "rows of the tables")
    cluster = Cluster(superuser_service=True)
    setting = Setting(cluster)
    with cluster:
        setting.prepare()
        check_topologies(s, setting, topologies)
        check_methods(s, setting, topologies, [(m[0], "u_" + m[0].split("-")[0], m[1]) for m in methods])
        check_drivers(s, setting)
        check_certificates(s, setting)
        check_pretender(s, setting)
        check_between(s, setting)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
