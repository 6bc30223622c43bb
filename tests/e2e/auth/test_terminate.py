"""auth = terminate without TLS: everybody who may log in does, nobody else does, and the client cannot
tell any of it from a login at the server: the same messages in the same order, errors byte for byte."""
import os
import re
import statistics
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Cluster, Endpoint, Scenarios, equal, pg_bin, wait_until  # noqa: E402
from rawpg import Raw, ServerError, cstr, fields as raw_fields, message  # noqa: E402

HBA = """local all postgres trust
host all postgres,service 127.0.0.1/32 scram-sha-256
host all u_trust all trust
host all u_reject all reject
host all u_password all password
host all u_md5,u_md5_scram all md5
host replication u_repl all scram-sha-256
host all all all scram-sha-256
"""
LONG = "l" * 63
STRANGE = ['Quote"d', "with space", "semi;colon'", "ünïcödé ☃", LONG, "back\\slash", "=,", "\"\"", "app$x"]

def ident(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def prepare(c):
    def admin(text):
        c.direct.sql(text, user="postgres", dbname="postgres")
    for user in ["u_trust", "u_reject", "u_password", "u_md5_scram", "u_scram", "u_expired", "u_changed", "u_kept"]:
        admin(f"CREATE ROLE {user} LOGIN PASSWORD 'geheim'")
    admin("ALTER ROLE u_expired VALID UNTIL '2001-01-01'")
    admin("CREATE ROLE u_nologin NOLOGIN PASSWORD 'geheim'; CREATE ROLE u_nopass LOGIN; "
          "CREATE ROLE u_repl LOGIN REPLICATION PASSWORD 'geheim'; "
          "CREATE ROLE u_later LOGIN PASSWORD 'geheim' VALID UNTIL '2999-01-01'")
    admin("SET password_encryption = 'md5'; CREATE ROLE u_md5 LOGIN PASSWORD 'geheim'; "
          "CREATE ROLE u_scram_md5 LOGIN PASSWORD 'geheim'")
    for user in STRANGE:
        admin(f"CREATE ROLE {ident(user)} LOGIN PASSWORD {literal('pw of ' + user)}")
    admin("GRANT ALL ON DATABASE app TO public")
    (c.postgres.data / "pg_hba.conf").write_text(HBA)
    admin("SELECT pg_reload_conf()")


def login(endpoint, user, password="geheim", dbname="app", **more):
    """All messages of a login: ["R10", …]; the error's bytes when there is one."""
    with Raw(endpoint.host, endpoint.port, user=user, password=password, dbname=dbname) as c:
        params = [("user", user), ("database", dbname), *more.items()]
        try:
            got = c.login(params)
        except ServerError as e:
            return e.fields
        return [k + str(struct.unpack("!I", b[:4])[0]) if k == "R" else
                (k if k in "K" else k + b.decode()) for k, b in got]


def same(c, user, password="geheim", **more):
    """The login gives the same messages through the proxy as without it; they are returned."""
    direct = login(c.direct, user, password, **more)
    proxied = login(c.proxy, user, password, **more)
    equal(proxied, direct, user)
    return proxied


def failed(c, user, sqlstate, text, password="geheim", **more):
    got = same(c, user, password, **more)
    assert isinstance(got, dict), f"{user} was let in"
    equal((got["C"], got["M"]), (sqlstate, text), user)


def run(title, version=None):
    """All scenarios in front of one version of the server; the exit code."""
    s = Scenarios(title)
    with Cluster(superuser_service=True, version=version) as c:
        prepare(c)
        proxy = c.start_proxy("proxy", auth="terminate")

        @s.scenario("logins by every method")
        def _():
            for user in ["u_scram", "u_md5", "u_md5_scram", "u_password", "u_later"]:
                got = same(c, user)
                equal(got[-1], "ZI", user)
                equal(c.proxy.sql("SELECT current_user, session_user", user=user, PGPASSWORD="geheim"), f"{user}|{user}")

        @s.scenario("refusals, byte for byte")
        def _():
            for user in ["u_scram", "u_md5", "u_md5_scram", "u_password"]:
                failed(c, user, "28P01", f'password authentication failed for user "{user}"', "falsch")
            for user in ["u_expired", "u_nopass", "u_scram_md5", "nobody"]:
                failed(c, user, "28P01", f'password authentication failed for user "{user}"')
            failed(c, "u_nologin", "28000", 'role "u_nologin" is not permitted to log in')
            failed(c, "u_scram", "3D000", 'database "nowhere" does not exist', dbname="nowhere")
            failed(c, "u_scram", "42704", 'unrecognized configuration parameter "no_such"', no_such="1")
            direct, proxied = login(c.direct, "u_reject"), login(c.proxy, "u_reject")
            equal(proxied["C"], direct["C"])
            equal(proxied["M"], direct["M"])

        @s.scenario("a server's trust is no authentication")
        def _():
            got = login(c.proxy, "u_trust")
            equal((got["C"], got["M"]), ("28000", "server accepted the login without authentication"))

        @s.scenario("strange names")
        def _():
            for user in STRANGE:
                got = same(c, user, "pw of " + user)
                equal(got[-1], "ZI", user)
                failed(c, user, "28P01", f'password authentication failed for user "{user}"', "x")
            with Raw(c.proxy.host, c.proxy.port, user=LONG + "and more", password="pw of " + LONG, dbname="app") as r:
                equal(r.login()[-1], ("Z", b"I"), "a longer name is cut, as the server does")

        @s.scenario("startup parameters and negotiation are the server's")
        def _():
            got = same(c, "u_scram", application_name="here", DateStyle="German", options="-c work_mem=7MB")
            assert any(m.startswith("Sapplication_name\0here") for m in got), got
            for endpoint in (c.direct, c.proxy):
                with Raw(endpoint.host, endpoint.port, user="u_scram", password="geheim", dbname="app") as r:
                    first = r.login([("user", "u_scram"), ("database", "app"), ("_pq_.none", "1")], version=0x00030002)
                    equal(first[0][0], "v")
                    equal([k for k, _ in first][:4], ["v", "R", "R", "R"])

        @s.scenario("replication connections")
        def _():
            for params in ([("replication", "database"), ("database", "app")], [("replication", "true")]):
                with Raw(c.proxy.host, c.proxy.port, user="u_repl", password="geheim", dbname="app") as r:
                    r.login([("user", "u_repl"), *params])
                    equal([k for k, _ in r.query("IDENTIFY_SYSTEM")], ["T", "D", "C", "Z"])

        @s.scenario("a password that changes")
        def _():
            def admin(text):
                c.direct.sql(text, user="postgres", dbname="postgres")
            with Raw(c.proxy.host, c.proxy.port, user="u_changed", password="geheim", dbname="app") as old:
                old.login()
                admin("ALTER ROLE u_changed PASSWORD 'neu'")
                failed(c, "u_changed", "28P01", 'password authentication failed for user "u_changed"')
                equal(same(c, "u_changed", "neu")[-1], "ZI")
                equal([k for k, _ in old.query("SELECT 1")], ["T", "D", "C", "Z"])
                admin("ALTER ROLE u_changed PASSWORD NULL")
                failed(c, "u_changed", "28P01", 'password authentication failed for user "u_changed"', "neu")

        @s.scenario("an unknown user sees what the server shows it")
        def _():
            def challenge(endpoint, user):
                with Raw(endpoint.host, endpoint.port, user=user, dbname="app") as r:
                    r.start()
                    r.respond(r.message()[1])
                    parts = dict(p.split("=", 1) for p in r.message()[1][4:].decode().split(","))
                    return parts["s"], parts["i"]
            for user in ["nobody", "u_nopass", "u_expired", "u_scram"]:
                equal(challenge(c.proxy, user), challenge(c.direct, user), user)
            equal(challenge(c.proxy, "nobody"), challenge(c.proxy, "nobody"))
            assert challenge(c.proxy, "nobody") != challenge(c.proxy, "nobody2")

        @s.scenario("hostile messages get the server's own answers")
        def _():
            hostile(c)

        @s.scenario("200 logins at the same time")
        def _():
            crowd(c)

        @s.scenario("time tells nothing (shown, not judged)")
        def _():
            for user in ["u_scram", "nobody", "u_expired"]:
                times = []
                for _ in range(20):
                    start = time.monotonic()
                    login(c.proxy, user, "falsch")
                    times.append((time.monotonic() - start) * 1000)
                print(f"     {user}: median {statistics.median(times):.1f} ms")

        if version is None:
            @s.scenario("a lookup that hangs, or dies")
            def _():
                lookup_hangs(c)

        @s.scenario("pg_basebackup and pg_dump")
        def _():
            if version is not None:
                return print("     not with the programs of an older version", flush=True)
            for args, user in ((["pg_basebackup", "-D", c.folder / "backup", "-X", "none", "-c", "fast"], "u_repl"),
                               (["pg_dump", "-s", "app"], "u_scram")):
                done = subprocess.run([pg_bin(args[0]), *args[1:]], text=True, capture_output=True, timeout=60,
                                      env=c.proxy.env(user=user, PGPASSWORD="geheim"))
                equal(done.returncode, 0, done.stderr)

        @s.scenario("a lookup that is not possible")
        def _():
            lookup_fails(c)

        @s.scenario("nothing was said of secrets in the log")
        def _():
            found = re.search(r"geheim|SCRAM-SHA-256\$|md5[0-9a-f]{32}", proxy.log_text())
            assert found is None, found
    return s.finish()


def hostile(c):
    initial = cstr("SCRAM-SHA-256")
    good = b"n,,n=,r=abc"

    def sasl(mechanism, data):
        length = struct.pack("!i", -1) if data is None else struct.pack("!I", len(data)) + data
        return message("p", cstr(mechanism) + length)
    firsts = [sasl("SCRAM-SHA-1", good), sasl("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=,r=abc"),
              sasl("", good), sasl("SCRAM-SHA-256", b""),
              sasl("SCRAM-SHA-256", b"n,a=root,n=,r=abc"), sasl("SCRAM-SHA-256", b"n,,m=ext,n=,r=abc"),
              sasl("SCRAM-SHA-256", b"p=tls-unique,,n=,r=abc"), sasl("SCRAM-SHA-256", b"x,,n=,r=abc"),
              sasl("SCRAM-SHA-256", b"n,,n=,r=a\0b"), sasl("SCRAM-SHA-256", b"n,,n=,r=a\x07b"),
              sasl("SCRAM-SHA-256", b"n,,r=abc"),
              message("p", b""), message("p", initial), message("p", initial + struct.pack("!I", 99) + good),
              message("Q", cstr("SELECT 1")), message("X"), message("p", b"x" * 2000), message("p", b"x" * 70000)]
    finals = [b"", b"c=biws", b"c=biws,r=%s", b"c=biws,r=wrong,p=AAAA", b"c=biws,r=%s,p=AAAA",
              b"c=biws,r=%s,p=" + b"A" * 43 + b"=", b"c=biws,r=%s,x=1,p=" + b"A" * 43 + b"=",
              b"c=eSws,r=%s,p=" + b"A" * 43 + b"=", b"c=,r=%s,p=" + b"A" * 43 + b"=", b"r=%s,c=biws,p=AAAA",
              b"c=biws,r=%s,p=****", b"c=biws,r=%s,p=" + b"A" * 43 + b"=,x=1", b"\0", b"e" * 5000]

    def answer(endpoint, first, final=None):
        with Raw(endpoint.host, endpoint.port, user="u_scram", dbname="app") as r:
            r.start()
            kind, body = r.message()
            equal(body[:4], struct.pack("!I", 10))
            r.send(first)
            if final is not None:
                body = r.message()[1]
                nonce = dict(p.split(b"=", 1) for p in body[4:].split(b","))[b"r"]
                r.send(message("p", final.replace(b"%s", nonce)))
            return r.until_closed()
    for first in firsts:
        equal(answer(c.proxy, first), answer(c.direct, first), repr(first[:60]))
    for first in [sasl("SCRAM-SHA-256", b"n,,n=,r="), sasl("SCRAM-SHA-256", b"n,,n=,r=abc,")]:
        got = answer(c.proxy, first)  # the server would go on; RFC 5802 does not allow them
        equal(ServerError(raw_fields(got[-1][1])).sqlstate, "28P01", repr(first))
    for final in finals:
        got, want = (answer(e, sasl("SCRAM-SHA-256", good), final) for e in (c.proxy, c.direct))
        equal(got, want, repr(final))


def crowd(c):
    """200 clients, right and wrong passwords mixed; each gets its own answer."""
    wrong = []
    places = threading.Semaphore(80)  # max_connections of the server is 100

    def one(i):
        user = STRANGE[i % len(STRANGE)]
        good = i % 4 != 0
        with places:
            try:
                got = login(c.proxy, user, f"pw of {user}" if good else "x")
            except Exception as e:  # told below
                got = repr(e)
        ok = got[-1] == "ZI" if good and isinstance(got, list) else not good and isinstance(got, dict) and got["C"] == "28P01"
        if not ok:
            wrong.append((i, got))
    threads = [threading.Thread(target=one, args=(i,)) for i in range(200)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(wrong, [])


def lookup_fails(c):
    def refused(name, sqlstate, hint, **settings):
        child = c.start_proxy("proxy", name=name, auth="terminate", **settings)
        endpoint = Endpoint("127.0.0.1", child.settings["listen_port"])
        for user in ["u_scram", "nobody"]:
            got = login(endpoint, user)
            equal((got["C"], got["M"]), (sqlstate, "the proxy cannot look up passwords"), name)
            assert hint in got["H"], got
        equal(login(endpoint, "u_password")[-1], "ZI", "a method that needs no lookup")
        child.stop()
        return child.log_text()
    service = f"host=127.0.0.1 port={c.postgres.port} user=service"
    refused("no_server", "57P03", "no connection", service="host=127.0.0.1 port=1 user=service password=service")
    refused("bad_query", "F0000", "auth_query", auth_query="SELECT nonsense FROM pg_authid WHERE rolname = $1",
            service=service + " password=service")
    log = refused("bad_password", "F0000", "auth_query", service=service + " password=falsch")
    assert "cannot look up the password" in log, log
    c.direct.sql("ALTER ROLE service NOSUPERUSER", user="postgres", dbname="postgres")
    refused("no_rights", "F0000", "auth_query")


def lookup_hangs(c):
    def waiting(seconds):
        return wait_until(lambda: c.direct.sql(
            f"SELECT pid FROM pg_stat_activity WHERE usename = 'service' AND query LIKE '%pg_sleep({seconds})%'",
            user="postgres", dbname="postgres"), "the lookup")

    def start(seconds, timeout):
        child = c.start_proxy("proxy", name=f"hangs{seconds}", auth="terminate", client_login_timeout=timeout,
                              auth_query=f"SELECT $1::text, '' FROM pg_sleep({seconds})")
        return child, Endpoint("127.0.0.1", child.settings["listen_port"])
    child, endpoint = start(600, "1")
    with Raw(endpoint.host, endpoint.port, user="u_scram", dbname="app") as gone:
        gone.start()
        gone.message()
        waiting(600)
    got = login(endpoint, "u_scram")
    equal((got["C"], got["M"]), ("57014", "canceling authentication due to timeout"), "a client that waits")
    child.stop()
    child, endpoint = start(601, "30")
    got = []
    client = threading.Thread(target=lambda: got.append(login(endpoint, "u_scram")))
    client.start()
    kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(601)%' AND "
    wait_until(lambda: c.direct.sql(kill + "usename = 'service'", user="postgres", dbname="postgres") and got,
               "the end of each lookup, that of pg_isready too")
    equal((got[0]["C"], got[0]["M"]), ("57P03", "the proxy cannot look up passwords"), "a lookup that dies")
    child.stop()


def main():
    return run("terminate") or run("terminate, PostgreSQL 18", 18)


if __name__ == "__main__":
    sys.exit(main())
