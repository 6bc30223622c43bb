"""The sub-commands: check, install, uninstall; run and what it does when something dies; its own server."""
import glob
import os
import pathlib
import signal
import subprocess
import sys
import time

from cluster import Cluster, Endpoint, Process, Scenarios, build_dir, equal, free_port, server_user, wait_until

BINARY = build_dir() / "pgveneer"


def call(*args, **env):
    return subprocess.run([BINARY, *map(str, args)], text=True, capture_output=True, timeout=60,
                          env={**os.environ, **env}, cwd="/")


def service(c, user="service"):
    return f"service=host=127.0.0.1 port={c.postgres.port} user={user} password={user}"


def children(pid):
    """name -> pid of the supervisor's children."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            text = pathlib.Path(path).read_text()
        except OSError:
            continue
        name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        if int(rest[1]) == pid and rest[0] != "Z":
            found[name] = int(path.split("/")[2])
    return found


def config_errors():
    file = "/nonexistent/x.conf"
    done = call("check", "-c", file, "--set", "listen_prot=1", "--set", "stats_users=anna",
                "--set", "backend=host=127.0.0.1 port=1")
    equal(done.returncode, 1, "exit code")
    for part in (file, 'unknown setting "listen_prot"', 'The nearest name is "listen_port"',
                 "It belongs to the admin console, which comes with a later release", "Connection refused"):
        assert part in done.stdout, f"{part!r} is not in\n{done.stdout}"
    done = call("run", "--set", "threads=many")
    equal(done.returncode, 1, "exit code of run")
    assert '"threads" needs a whole number' in done.stderr, done.stderr


def usage():
    equal(call().returncode, 2)
    equal(call("walk").returncode, 2)
    equal(call("run", "--fast").returncode, 2)
    equal(call("install").returncode, 2)
    equal(call("--help").returncode, 0)
    assert call("--version").stdout.startswith("pgveneer "), "version"


def check_ok(c):
    done = call("check", "--set", c.proxy_settings()["backend"].join(("backend=", "")), "--set", service(c),
                "--set", "databases=app", PGPASSWORD="wrong", PGPORT="1")
    equal(done.returncode, 0, done.stdout)
    for part in ("logs in as service", "asks for a password", 'database "app"'):
        assert part in done.stdout, done.stdout


def check_finds(c):
    backend = f"backend=host=127.0.0.1 port={c.postgres.port}"
    done = call("check", "--set", backend, "--set", service(c).replace("password=service", "password=wrong"))
    equal(done.returncode, 1, done.stdout)
    assert "password authentication failed" in done.stdout, done.stdout
    c.direct.sql("CREATE ROLE weak LOGIN PASSWORD 'weak'; CREATE DATABASE other", user="postgres", dbname="postgres")
    done = call("check", "--set", backend, "--set", service(c, "weak"), "--set", "databases=other, nowhere")
    equal(done.returncode, 1, done.stdout)
    for part in ('database "other": missing: CREATE on the database', 'database "nowhere" does not exist'):
        assert part in done.stdout, done.stdout
    assert "weak" not in done.stdout.replace("logs in as weak", ""), "the password was printed"


def check_trust():
    with Cluster(auth="trust") as c:
        backend = f"backend=host=127.0.0.1 port={c.postgres.port}"
        done = call("check", "--set", backend)
        equal(done.returncode, 1, done.stdout)
        assert "lets a login in without any challenge" in done.stdout, done.stdout
        done = call("check", "--set", backend, "--set", "allow_trust_backend=on")
        equal(done.returncode, 0, done.stdout)
        assert "warning  backend" in done.stdout, done.stdout


def install(c):
    for _ in range(2):
        done = call("install", "--dbname", "app", "--set", service(c))
        equal(done.returncode, 0, done.stdout + done.stderr)
    admin = "SELECT value FROM pgveneer.setting WHERE name = 'admin_role'"
    equal(c.direct.sql(admin), "pg_database_owner")
    for role in ("o'neill", "pg_database_owner", "o'neill"):  # back and forth
        done = call("install", "--dbname", "app", "--set", service(c), "--set", f"admin_role={role}")
        equal(done.returncode, 0, done.stdout + done.stderr)
        equal(c.direct.sql(admin), role)
    done = call("uninstall", "--dbname", "app", "--set", service(c))
    equal(done.returncode, 0, done.stdout + done.stderr)
    equal(c.direct.sql("SELECT count(*) FROM pg_namespace WHERE nspname IN ('pgveneer', 'hudi')"), "0")
    done = call("install", "--dbname", "nowhere", "--set", service(c))
    equal(done.returncode, 1, "exit code")
    done = call("install", "--dbname", "app")
    equal(done.returncode, 1, "exit code without service")


def supervision(c):
    run = c.start_proxy("run", name="supervised", pidfile=str(c.folder / "run.pid"))
    port, pid = run.settings["listen_port"], run.process.pid
    endpoint = Endpoint("127.0.0.1", port)
    equal(pathlib.Path(c.folder / "run.pid").read_text().strip(), str(pid), "pidfile")
    if os.getuid() == 0:
        for number in (pid, *children(pid).values()):
            assert os.stat(f"/proc/{number}").st_uid == server_user()["user"], "a process is still root's"
    for number in (pid, *children(pid).values()):
        assert b"password" not in pathlib.Path(f"/proc/{number}/cmdline").read_bytes(), "password in a command line"
    for name in ("pgv-proxy", "pgv-worker"):
        old = wait_until(lambda: children(pid).get(name), f"{name} runs")
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: children(pid).get(name, old) != old, f"{name} runs again")
    wait_until(lambda: endpoint.is_ready(), "pgveneer answers again")
    equal(endpoint.sql("SELECT 1"), "1")
    equal(run.stop(), 0, "exit code")
    assert not (c.folder / "run.pid").exists() or not (c.folder / "run.pid").read_text(), "pidfile stays"


def drain(c):
    run = c.start_proxy("run", name="drained")
    port = run.settings["listen_port"]
    env = Endpoint("127.0.0.1", port).env()
    client = subprocess.Popen(["psql", "-XAtq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
    client.stdin.write("BEGIN;\nSELECT 'begun';\n")
    client.stdin.flush()
    equal(client.stdout.readline().strip(), "begun")
    run.process.kill(signal.SIGTERM)
    wait_until(lambda: "stopping" in run.process.text(), "the drain has begun")
    client.stdin.write("SELECT 'ended';\nCOMMIT;\n")
    client.stdin.flush()
    equal(client.stdout.readline().strip(), "ended")
    start = time.monotonic()
    equal(run.process.popen.wait(60), 0, "exit code")
    assert time.monotonic() - start < 15, "it did not end when the last transaction had"
    client.stdin.close()
    client.wait(60)
    client.stdout.close()


def second_signal(c):
    run = c.start_proxy("run", name="twice")
    env = Endpoint("127.0.0.1", run.settings["listen_port"]).env()
    client = subprocess.Popen(["psql", "-XAtqc", "BEGIN; SELECT pg_sleep(60)"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env=env)
    wait_until(lambda: c.direct.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND "
                                    "pid <> pg_backend_pid()", user="postgres") == "1", "the query runs")
    run.process.kill(signal.SIGTERM)
    # the proxy's own words: two signals that come to it at once are one
    wait_until(lambda: "stopping: waiting up to" in run.process.text(), "the drain has begun")
    run.process.kill(signal.SIGTERM)
    equal(run.process.popen.wait(60), 0, "exit code")
    client.wait(60)


def port_taken(c):
    port = c.proxy.port
    done = call("run", "--set", f"listen_port={port}", "--set", f"backend=host=127.0.0.1 port={c.postgres.port}")
    equal(done.returncode, 1, "exit code")
    assert "Address already in use" in done.stderr and "giving up" in done.stderr, done.stderr


class Embedded:
    def __init__(self, c, name):
        self.c, self.dir, self.port, self.runs = c, c.folder / name, free_port(), 0

    def start(self):
        self.runs += 1
        self.process = Process("embedded", [BINARY, "run", "--embedded", self.dir, "--set", f"listen_port={self.port}"],
                               self.c.folder / f"{self.dir.name[:20]}.{self.runs}.log", signal.SIGTERM, cwd="/")
        self.endpoint = Endpoint("127.0.0.1", self.port)
        wait_until(lambda: self.endpoint.is_ready() or not self.process.is_running(), "it answers")
        if not self.process.is_running():
            raise AssertionError(self.process.tail())
        self.password = (self.dir / "password").read_text().strip()

    def sql(self, text):
        return self.endpoint.sql(text, user="postgres", dbname="postgres", PGPASSWORD=self.password)


def embedded(c):
    e = Embedded(c, "private")
    e.start()
    equal(e.sql("CREATE TABLE kept (a int); INSERT INTO kept VALUES (7); SELECT a FROM kept"), "7")
    equal((e.dir / "password").stat().st_mode & 0o777, 0o600, "mode of the password file")
    equal(e.sql("SHOW listen_addresses"), "")
    error = subprocess.run(["psql", "-XAtc", "SELECT 1"], env=e.endpoint.env("postgres", "postgres", "wrong"),
                           text=True, capture_output=True).stderr
    assert "password authentication failed" in error, error
    second = call("run", "--embedded", e.dir, "--set", f"listen_port={free_port()}")
    equal(second.returncode, 1, "exit code of a second one")
    assert "another pgveneer works with the folder" in second.stderr, second.stderr
    # The server is killed: it comes back by itself.
    old = int((e.dir / "data/postmaster.pid").read_text().split()[0])
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: children(e.process.pid).get("postgres", old) != old and e.endpoint.is_ready(),
               "the server is back")
    equal(e.sql("SELECT a FROM kept"), "7")
    # The supervisor is killed, and started again with what it left.
    e.process.stop(signal.SIGKILL)
    e.start()
    equal(e.sql("SELECT a FROM kept"), "7")
    equal(e.process.stop(timeout=60), 0, "exit code")
    assert not (e.dir / "data/postmaster.pid").exists(), "the server still runs"


def embedded_refuses(c):
    folder = c.folder / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    owner = folder.stat().st_uid
    done = call("run", "--embedded", folder)
    equal(done.returncode, 1, "exit code")
    assert "is not empty and holds no server of pgveneer" in done.stderr, done.stderr
    equal(folder.stat().st_uid, owner, "owner of the folder")
    done = call("run", "--embedded", c.folder / "x", "--set", "service=user=x")
    equal(done.returncode, 1, "exit code")
    # A name that is too long for a socket.
    e = Embedded(c, "long" * 30)
    e.start()
    folder = pathlib.Path(e.sql("SHOW unix_socket_directories"))
    equal(folder.parent, pathlib.Path("/tmp"))
    equal(e.process.stop(timeout=60), 0, "exit code")
    assert not folder.exists(), "the folder of the socket is left"


def main():
    s = Scenarios("commands")
    s.run("configuration errors", config_errors)
    s.run("usage", usage)
    s.run("check: a server that trusts", check_trust)
    with Cluster() as c:
        for name, function in (("check: all is well", check_ok), ("check: what is wrong", check_finds),
                               ("install and uninstall", install), ("supervision", supervision), ("drain", drain),
                               ("second signal", second_signal)):
            s.run(name, function, c)
        c.proxy = None
        c.start_proxy("proxy", name="alone")
        s.run("port taken", port_taken, c)
        s.run("embedded", embedded, c)
        s.run("embedded: folders that are refused", embedded_refuses, c)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
