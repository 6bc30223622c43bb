"""Logins with drivers that the registry gives, by each way of connecting that stands in README.md ("TLS and
authentication"): node pg without and with channel binding, postgres.js, psql with libpq 18. What binds must fare
as the column `prefer` says, what does not as `disable`; a wrong password is the server's 28P01."""
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e/auth"))
import test_matrix  # noqa: E402
from cluster import Cluster, Scenarios, equal  # noqa: E402

NODE = {"pg": "disable", "pg,binding": "prefer", "postgres": "disable"}


def node(folder, calls):
    """The outcomes of (client, child, password), in order."""
    words = [str(word) for client, child, password in calls
             for word in (client, child.settings["listen_port"],
                          "TLS" if child.settings["client_tls_sslmode"] == "require" else "plain", password)]
    done = subprocess.run(["node", folder / "logins.js", *words], text=True, capture_output=True, timeout=120)
    equal(len(done.stdout.splitlines()), len(calls), done.stderr)
    return done.stdout.splitlines()


def check_node(s, setting, topologies, folder):
    for client, column in NODE.items():
        @s.scenario(client)
        def _():
            at = 4 + test_matrix.BINDINGS.index(column)
            children = [setting.proxy(*row[:4]) for row in topologies]
            got = node(folder, [(client, child, "geheim") for child in children])
            for row, child, outcome in zip(topologies, children, got):
                wanted = "28000 SCRAM channel binding check failed" if row[at] == "server refuses" else row[at]
                if client == "pg,binding" and row[:4] == ["plain", "TLS", "", "relay"]:
                    # It says that it could bind though it has no TLS: nothing but its own setting can help it.
                    wanted = "28000 SCRAM channel binding negotiation error"
                    assert "could bind SCRAM to TLS" in child.log_text(), child.log_text()
                equal(outcome, wanted, "; ".join(row[:4]))
            # a client that binds is refused for that first, where it cannot work
            able = [(client, child, "falsch") for child, outcome in zip(children, got) if outcome == "works"]
            for outcome in node(folder, able):
                equal(outcome, '28P01 password authentication failed for user "u_scram"')


def check_libpq18(s, setting, topologies, library):
    @s.scenario("psql, libpq 18: protocol 3.2, direct TLS, every channel_binding")
    def _():
        for row in topologies:
            child = setting.proxy(*row[:4])
            tls = "sslmode=require sslnegotiation=direct" if row[0] == "TLS" else "sslmode=disable"
            for binding, wanted in zip(test_matrix.BINDINGS, row[4:]):
                target = (f"host=127.0.0.1 port={child.settings['listen_port']} user=u_scram dbname=app {tls} "
                          f"channel_binding={binding} max_protocol_version=latest")
                done = subprocess.run(["psql", "-XAt", "-c", "SELECT 42", target], text=True, capture_output=True,
                                      timeout=60, env={**os.environ, "PGPASSWORD": "geheim", "LD_LIBRARY_PATH": str(library)})
                got = test_matrix.outcome("works" if done.stdout == "42\n" else done.stderr)
                equal(got, wanted, f"{'; '.join(row[:4])}; {binding}")


def run(node_folder, library):
    """node_folder() gives the folder with node_modules, or raises; library: libpq 18's."""
    s = Scenarios("logins")
    topologies, _ = test_matrix.readme_tables()
    setting = test_matrix.Setting(Cluster(superuser_service=True))
    with setting.c:
        setting.prepare()
        check_node(s, setting, topologies, node_folder())
        check_libpq18(s, setting, topologies, library)
    return s.finish()
