"""The token in clear text: over TLS for who asks, without TLS only where the setting says so, never unasked."""
import sys

from certificates import Authority
from cluster import Cluster, Endpoint, Scenarios, equal
from cursors import Declarer, Retriever
from rawpg import B, E, P, Q, S, fields, kinds, message
from tlsraw import TlsRaw

s = Scenarios("parallel_cursor/login")
PRC = "PARALLEL RETRIEVE CURSOR"
ASKS = {"option": [("options", "-c gp_session_role=retrieve -c pgveneer.retrieve_auth=password")],
        "parameter": [("gp_retrieve_conn", "on"), ("pgveneer.retrieve_auth", "password")]}


def enter(raw, form, token):
    """The method that was asked for, and how the login ended."""
    raw.start([("user", "app"), ("database", "app"), *form])
    kind, body = raw.message()
    if kind == "E":
        return "refused", fields(body)["C"]
    method = {3: "clear", 10: "scram"}[int.from_bytes(body[:4], "big")]
    if method == "scram":
        return method, ""
    raw.send(message("p", token.encode() + b"\0"))
    got = raw.until("ZE")
    return method, "in" if got[-1][0] == "Z" else fields(got[-1][1])["C"]


with Cluster() as c:
    pair = Authority(c.folder, "ca").sign("server", dns=["localhost"], ip=["127.0.0.1"])
    tls = {"client_tls_sslmode": "prefer", "client_tls_cert_file": pair.cert, "client_tls_key_file": pair.key}
    c.start_proxy(**tls)
    c.direct.sql("CREATE TABLE t1 AS SELECT generate_series(1, 9) AS a")
    plain = c.start_proxy(name="plain", retrieve_clear_text="on")

    @s.scenario("who asks gets it over TLS; nobody else; not without TLS")
    def _():
        with Declarer(c.proxy) as d, Declarer(c.proxy) as d2:
            for declarer in (d, d2):
                declarer.run(f"BEGIN; DECLARE c {PRC} FOR SELECT a FROM t1")
            token = d.token()
            for form in ASKS.values():
                with TlsRaw(c.proxy.host, c.proxy.port) as r:
                    equal(enter(r, form, token), ("clear", "in"), "over TLS")
                    got = r.query("RETRIEVE ALL FROM ENDPOINT c_1")
                    equal(kinds(got), "T" + 9 * "D" + "CZI", str(got))
                with Retriever(c.proxy.host, c.proxy.port) as r:
                    equal(enter(r, form, token), ("refused", "28000"), "without TLS")
                d.run(f"CLOSE c; DECLARE c {PRC} FOR SELECT a FROM t1")
            for wrong in ["", token[:-1], token + "0", token[:-1] + "x", "x" * 10000]:
                with TlsRaw(c.proxy.host, c.proxy.port) as r:
                    equal(enter(r, ASKS["option"], wrong), ("clear", "28P01"), wrong[:40])
            with TlsRaw(c.proxy.host, c.proxy.port) as r:
                equal(enter(r, [("gp_retrieve_conn", "on")], token), ("scram", ""), "not asked")
            with TlsRaw(c.proxy.host, c.proxy.port) as r:
                equal(enter(r, ASKS["option"], d2.token()), ("clear", "in"), "the other session's token")
                equal(fields(dict(r.query("RETRIEVE ALL FROM ENDPOINT nosuch"))["E"])["C"], "22023", "the other session")

    @s.scenario("retrieve_clear_text = on: without TLS too, for who asks")
    def _():
        with Declarer(Endpoint("127.0.0.1", plain.settings["listen_port"])) as d:
            d.run(f"BEGIN; DECLARE c {PRC} FOR SELECT a FROM t1")
            with Retriever(d.endpoint.host, d.endpoint.port) as r:
                equal(enter(r, ASKS["option"], d.token()), ("clear", "in"), "asked")
            with Retriever(d.endpoint.host, d.endpoint.port) as r:
                equal(enter(r, [("gp_retrieve_conn", "on")], d.token()), ("scram", ""), "not asked")

sys.exit(s.finish())
