"""A login of our own with each kind of credential, against each method of a real server: what the table
in proxy/credential.c says works, and what it does not say is refused without a word to the server."""
import base64
import hashlib
import hmac
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Cluster, Scenarios, build_dir, equal  # noqa: E402

HBA = """local all postgres trust
host all postgres 127.0.0.1/32 scram-sha-256
host all u_trust all trust
host all u_password all password
host all u_md5 all md5
host all u_scram all scram-sha-256
"""
METHODS = {"u_trust": "trust", "u_password": "password", "u_md5": "md5", "u_scram": "scram"}
ANSWERS = {"trust": METHODS.keys(), "password": METHODS.keys(), "md5": {"u_trust", "u_md5"},
           "scram": {"u_trust", "u_scram"}, "scram+server": {"u_trust", "u_scram"}, "none": {"u_trust"}}
ANSWERS["trust"] = {"u_trust"}


def probe(c, user, kind, secret):
    done = subprocess.run([build_dir() / "login_probe", "127.0.0.1", str(c.postgres.port), user, "postgres",
                           kind, secret], text=True, capture_output=True, timeout=120)
    equal(done.returncode, 0, done.stderr)
    return done.stdout.strip()


def client_key(password, verifier):
    """ClientKey of the password under the verifier's salt, and the verifier's own ServerKey."""
    head, keys = verifier.split("$")[1:]
    iterations, salt = head.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    key = hmac.digest(salted, b"Client Key", "sha256")
    equal(base64.b64encode(hashlib.sha256(key).digest()).decode(), keys.split(":")[0], "StoredKey")
    return base64.b64encode(key).decode(), keys.split(":")[1]


def prepare(c):
    for user in METHODS:
        encryption = "md5" if user == "u_md5" else "scram-sha-256"
        c.direct.sql(f"SET password_encryption = '{encryption}'; CREATE ROLE {user} LOGIN PASSWORD 'geheim'",
                     user="postgres", dbname="postgres")
    (c.postgres.data / "pg_hba.conf").write_text(HBA)
    c.direct.sql("SELECT pg_reload_conf()", user="postgres", dbname="postgres")
    return dict(line.split("|") for line in c.direct.sql(
        "SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE 'u\\_%'", user="postgres",
        dbname="postgres").splitlines())


def secrets_of(verifiers):
    key, server_key = client_key("geheim", verifiers["u_scram"])
    return {"none": "", "trust": "", "password": "geheim", "md5": verifiers["u_md5"], "scram": key,
            "scram+server": f"{key}:{server_key}"}


def main():
    s = Scenarios("credential")
    with Cluster() as c:
        secrets = secrets_of(prepare(c))

        @s.scenario("every credential against every method")
        def _():
            for kind, secret in secrets.items():
                for user in METHODS:
                    got = probe(c, user, kind, secret)
                    if user in ANSWERS[kind]:
                        equal(got, f"ok {user}", f"{kind} for {user}")
                    else:
                        equal(got[:5], "28P01", f"{kind} for {user}: {got}")
                        assert "the server asks for a password" in got, got

        @s.scenario("wrong secrets are refused by the server")
        def _():
            key, server_key = secrets["scram+server"].split(":")
            for user, kind, secret in [("u_password", "password", "falsch"), ("u_md5", "password", "falsch"),
                                       ("u_scram", "password", "falsch"), ("u_scram", "scram", server_key),
                                       ("u_md5", "md5", "md5" + "0" * 32)]:
                equal(probe(c, user, kind, secret), f'28P01 password authentication failed for user "{user}"',
                      f"{kind} for {user}")
            assert probe(c, "u_scram", "scram+server", f"{key}:{key}").startswith("28000 the server does not know")

        @s.scenario("a key does not survive a change of the password")
        def _():
            c.direct.sql("ALTER ROLE u_scram PASSWORD 'geheim'", user="postgres", dbname="postgres")
            equal(probe(c, "u_scram", "scram", secrets["scram"]),
                  '28P01 password authentication failed for user "u_scram"')
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
