"""keep_client_keys: what a session keeps of each way of logging in, in both modes, and that a login never
fails for it. The kind that is kept stands in the log at debug level; that the keys are right is shown by
the unit tests and by what uses them."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Cluster, Endpoint, Scenarios, build_dir, equal, wait_until  # noqa: E402

HBA = """local all postgres trust
host all postgres,service 127.0.0.1/32 scram-sha-256
host all u_trust all trust
host all u_password all password
host all u_md5 all md5
host all all all scram-sha-256
"""
FUNCTION = """
CREATE SCHEMA pgveneer_auth;
CREATE FUNCTION pgveneer_auth.verifier(wanted name) RETURNS TABLE (rolname name, verifier text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END
    FROM pg_authid WHERE rolname = wanted AND NOT rolsuper AND NOT rolreplication $$;
REVOKE ALL ON FUNCTION pgveneer_auth.verifier(name) FROM PUBLIC;
GRANT USAGE ON SCHEMA pgveneer_auth TO service;
GRANT EXECUTE ON FUNCTION pgveneer_auth.verifier(name) TO service;
"""
BY_FUNCTION = "SELECT rolname, verifier FROM pgveneer_auth.verifier($1)"


def prepare(c):
    def admin(text):
        c.direct.sql(text, user="postgres", dbname="postgres")
    for user in ["u_trust", "u_password", "u_scram"]:
        admin(f"CREATE ROLE {user} LOGIN PASSWORD 'geheim'")
    admin("SET password_encryption = 'md5'; CREATE ROLE u_md5 LOGIN PASSWORD 'geheim'")
    admin(FUNCTION)
    (c.postgres.data / "pg_hba.conf").write_text(HBA)
    admin("SELECT pg_reload_conf()")


def kept(child, endpoint, user):
    """The line about the key that the next session of this user leaves in the log."""
    before = len(child.log_text())
    equal(endpoint.sql("SELECT session_user", user=user, PGPASSWORD="geheim"), user)
    text = wait_until(lambda: "closed" in child.log_text()[before:] and child.log_text()[before:], "the session's end")
    lines = [line for line in text.splitlines() if f" {user}@app " in line and ("keeps" in line or "not kept" in line)]
    assert len(lines) <= 1, lines
    return lines[0].split(" keeps ")[-1] if lines else ""


def modes(c, s, name, wanted, **settings):
    child = c.start_proxy("proxy", name=name, log_level="debug", **{"keep_client_keys": "on", **settings})
    endpoint = Endpoint("127.0.0.1", child.settings["listen_port"])

    @s.scenario(name.replace("_", " "))
    def _():
        for user, what in wanted.items():
            got = kept(child, endpoint, user)
            assert what in got if what else got == "", f"{user}: {got!r}"
        assert "geheim" not in child.log_text() and "SCRAM-SHA-256$" not in child.log_text()
    child.stop()


def main():
    s = Scenarios("keep")
    everything = {"u_scram": "a SCRAM key", "u_md5": "an md5 hash", "u_password": "", "u_trust": "the server's trust"}
    nothing = dict.fromkeys(everything, "")
    with Cluster() as c:  # the service role is no superuser: it asks the function
        prepare(c)
        modes(c, s, "relay", everything, allow_trust_backend="on", auth_query=BY_FUNCTION)
        modes(c, s, "terminate", everything, allow_trust_backend="on", auth_query=BY_FUNCTION, auth="terminate")
        modes(c, s, "relay_off", nothing, allow_trust_backend="on", auth_query=BY_FUNCTION, keep_client_keys="off")
        modes(c, s, "terminate_off", nothing, allow_trust_backend="on", auth_query=BY_FUNCTION, auth="terminate",
              keep_client_keys="off")
        failing = "is not kept: permission denied for table pg_authid"
        modes(c, s, "without_the_right_to_look_up", {"u_scram": failing, "u_md5": failing})
        modes(c, s, "without_a_service", {"u_scram": "refused", "u_md5": "refused"},
              service="host=127.0.0.1 port=1 user=service password=service")

        @s.scenario("check tries the query")
        def _():
            for query, code, words in [
                    (BY_FUNCTION, 0, "ok       auth_query"), ("SELECT $1::text", 1, "gives no name and verifier"),
                    ("SELECT 1, 2 FROM nowhere WHERE '' = $1", 1, 'relation "nowhere" does not exist'),
                    (None, 1, "permission denied for table pg_authid")]:
                assignments = {"backend": f"host=127.0.0.1 port={c.postgres.port}", "auth": "terminate",
                               "service": f"host=127.0.0.1 port={c.postgres.port} user=service password=service"}
                if query:
                    assignments["auth_query"] = query
                done = subprocess.run([build_dir() / "pgveneer", "check", *(
                    word for k, v in assignments.items() for word in ("--set", f"{k}={v}"))],
                    text=True, capture_output=True, timeout=120)
                equal(done.returncode, code, done.stdout + done.stderr)
                assert words in done.stdout, done.stdout
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
