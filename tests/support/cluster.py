"""Starts what an end-to-end test needs: a private PostgreSQL, pgveneer in front of it, SQL through psql.

    from cluster import Cluster
    with Cluster() as c:                        # everything is stopped, by pid, when the block is left
        c.start_proxy()                         # pgveneer run in front of it, on a free port
        c.proxy.sql("SELECT 1")                 # through pgveneer, as role app in database app
        c.direct.sql("SELECT 1", user="postgres")
        wait_until(lambda: c.proxy.sql("…") == "5", "five rows")

The server runs as user postgres when the test is root. It has the databases postgres and app, and the
roles (each with its own name as password)
    postgres   superuser
    app        owner of database app
    service    pgveneer's login: CREATE on database app, member of app; no superuser unless asked for
It asks everybody for SCRAM. Tests wait for conditions, never for time alone. Python 3.9 or newer,
standard library only. The folder of the binary is --build, PGVENEER_BUILD, or build/ of the tree.
"""
import base64
import ctypes
import fcntl
import hashlib
import hmac
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIMEOUT_S = float(os.environ.get("PGVENEER_TEST_TIMEOUT", "120"))
PR_SET_PDEATHSIG = 1
# With pgjdbc. A short life: the first compiler only, and one thread that collects.
JAVA = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", "/usr/share/java/postgresql.jar"]
SANITIZER = re.compile(r"(ERROR: \w*Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed)")


def build_dir():
    return pathlib.Path(os.environ.get("PGVENEER_BUILD", ROOT / "build")).resolve()


def postgresql18():
    """The folder with bin/, lib/ and share/ of a PostgreSQL 18, which is fetched where it is missing."""
    subprocess.run([ROOT / "scripts/fetch_postgresql18.sh"], check=True)
    return pathlib.Path(os.environ.get("POSTGRESQL18_DIR", ROOT / ".deps/postgresql18"))


def pg_bin(name, version=None):
    """A program of the newest installed PostgreSQL (PGBIN names another folder), or of PostgreSQL 18."""
    if version == 18:
        return str(postgresql18() / "bin" / name)
    folders = [pathlib.Path(os.environ["PGBIN"])] if "PGBIN" in os.environ else sorted(
        pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    for folder in folders:
        if (folder / name).exists():
            return str(folder / name)
    return shutil.which(name) or sys.exit(f"{name} is not installed")


# Debian's psql in /usr/bin is a script that looks for a cluster first: ten times the CPU of psql itself.
os.environ["PATH"] = f"{pathlib.Path(pg_bin('psql')).resolve().parent}:{os.environ['PATH']}"


def scratch_in_memory():
    """Scratch folders go to /dev/shm where there is plenty of it, unless TMPDIR says where: a cluster has a
    thousand files, and some disks take ten times as long for them."""
    memory = pathlib.Path("/dev/shm")
    if "TMPDIR" in os.environ or not os.access(memory, os.W_OK):
        return
    room = os.statvfs(memory)
    available = re.search(r"MemAvailable: +(\d+) kB", pathlib.Path("/proc/meminfo").read_text())
    limit = pathlib.Path("/sys/fs/cgroup/memory.max")  # of a container
    limit = limit.read_text().strip() if limit.exists() else "max"
    if available and min(room.f_bavail * room.f_frsize, int(available.group(1)) * 1024,
                         sys.maxsize if limit == "max" else int(limit)) > 6 << 30:
        tempfile.tempdir = str(memory)


scratch_in_memory()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(condition, what, timeout=TIMEOUT_S, every=0.05):
    """Calls condition() until it is true and returns its value; TimeoutError that names `what`."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout:g} s: {what}")
        time.sleep(every)


def server_user():
    """Keyword arguments for subprocess: PostgreSQL does not run as root."""
    if os.getuid() != 0:
        return {}
    import pwd
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def die_with_parent(sig):
    """A test that is killed leaves no server behind."""
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(PR_SET_PDEATHSIG, int(sig))


class SqlError(Exception):
    """psql failed; .sqlstate is the first error's, or ''."""

    def __init__(self, text):
        super().__init__(text)
        found = re.search(r"\b(?:ERROR|FATAL|PANIC):  ([0-9A-Z]{5}):", text)
        self.sqlstate = found.group(1) if found else ""


class Endpoint:
    """Where SQL can be sent: the server itself, or pgveneer."""

    def __init__(self, host, port):
        self.host, self.port = host, port

    def env(self, user="app", dbname="app", password=None, **more):
        return {**os.environ, "PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": user,
                "PGDATABASE": dbname, "PGPASSWORD": password or user, "PGSSLMODE": "prefer",
                "PGCLIENTENCODING": "UTF8", "PGAPPNAME": "test", **more}

    def dsn(self, user="app", dbname="app", password=None):
        return (f"host={self.host} port={self.port} user={user} dbname={dbname} "
                f"password={password or user}")

    def psql(self, *args, user="app", dbname="app", stdin="", timeout=TIMEOUT_S, check=False, **env):
        """Runs psql with these arguments; the CompletedProcess with texts."""
        done = subprocess.run(["psql", "-X", *args], input=stdin, text=True, capture_output=True,
                              timeout=timeout, env=self.env(user, dbname, **env))
        if check and done.returncode != 0:
            raise SqlError(done.stderr.strip() or done.stdout.strip())
        return done

    def sql(self, text, user="app", dbname="app", timeout=TIMEOUT_S, **env):
        """The result as text: rows by line, columns by '|', the last statement's. SqlError on error.
        Each statement commits on its own, as in psql."""
        return self.psql("-Atq", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", user=user,
                         dbname=dbname, stdin=text, timeout=timeout, check=True, **env).stdout.strip("\n")

    def sql_error(self, text, **where):
        """The SqlError that the text must raise."""
        try:
            self.sql(text, **where)
        except SqlError as e:
            return e
        raise AssertionError(f"no error from: {text}")

    def is_ready(self, **where):
        return subprocess.run(["pg_isready", "-q", "-t", "2"], env=self.env(**where)).returncode == 0


class Process:
    """A child with a log file; stopped by signal and pid."""

    def __init__(self, name, args, log, on_parent_death, **popen):
        self.name, self.log_path = name, log
        self.log = open(log, "ab")
        self.popen = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                      preexec_fn=die_with_parent(on_parent_death), **popen)

    @property
    def pid(self):
        return self.popen.pid

    def is_running(self):
        return self.popen.poll() is None

    def kill(self, sig=signal.SIGKILL):
        if self.is_running():
            self.popen.send_signal(sig)

    def stop(self, sig=signal.SIGTERM, timeout=TIMEOUT_S):
        """Returns the exit code; kills what does not stop, and says so."""
        self.kill(sig)
        try:
            code = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            self.popen.wait()
            code = None
        self.log.close()
        if code is None:
            raise AssertionError(f"{self.name} did not stop within {timeout:g} s of {sig.name}\n{self.tail()}")
        return code

    def text(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def tail(self, lines=40):
        return "\n".join(self.text().splitlines()[-lines:])


def wait_ready(process, port):
    """Until it takes connections on the port of 127.0.0.1."""
    endpoint = Endpoint("127.0.0.1", port)
    try:
        wait_until(lambda: endpoint.is_ready() or not process.is_running(), "it answers", every=0.02)
    except TimeoutError as e:
        raise AssertionError(f"{process.name} does not start: {e}\n{process.tail()}") from None
    if not process.is_running():
        raise AssertionError(f"{process.name} does not start\n{process.tail()}")


class Postgres:
    """A private server: TCP on a free port of 127.0.0.1 and a unix socket in .socket_dir."""

    def __init__(self, folder, auth="scram-sha-256", settings=(), version=None):
        self.folder, self.version = pathlib.Path(folder), version
        self.data, self.socket_dir = self.folder / "data", self.folder
        self.auth, self.settings = auth, dict(settings)
        self.port = free_port()
        self.process = None

    def init(self):
        password = self.folder / "password"
        password.write_text("postgres\n")
        if os.getuid() == 0:
            shutil.chown(password, "postgres")
        subprocess.run([pg_bin("initdb", self.version), "-D", self.data, "-U", "postgres", "-E", "UTF8", "--no-locale",
                        "-A", self.method(), "--pwfile", password, "--no-sync"], check=True,
                       stdout=subprocess.DEVNULL, cwd=self.folder, **server_user())

    def method(self):
        return self.auth if self.auth in ("trust", "md5", "password") else "scram-sha-256"

    def configure(self):
        lines = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.socket_dir),
                 "fsync": "off", "full_page_writes": "off", "max_connections": "100",
                 "log_min_messages": "warning", "log_line_prefix": "%m [%p] %q%u@%d/%a ",
                 "shared_buffers": "64MB", "password_encryption": "md5" if self.method() == "md5" else "scram-sha-256",
                 **self.settings}
        with open(self.data / "postgresql.auto.conf", "w") as f:
            f.writelines("%s = '%s'\n" % (k, str(v).replace("'", "''")) for k, v in lines.items())

    def start(self):
        self.process = Process("postgres", [pg_bin("postgres", self.version), "-D", self.data, "-p", str(self.port)],
                               self.folder / "postgres.log", signal.SIGQUIT, cwd=self.folder, **server_user())
        wait_ready(self.process, self.port)

    def stop(self, sig=signal.SIGINT):
        """SIGINT: fast; SIGQUIT: as after a crash."""
        if self.process is not None:
            self.process.stop(sig)
            self.process = None

    def restart(self, sig=signal.SIGINT):
        self.stop(sig)
        self.start()


class Pgveneer:
    """One pgveneer process: command is run, proxy or worker."""

    def __init__(self, folder, settings, command="run", name="pgveneer", binary=None):
        self.folder = pathlib.Path(folder)
        self.settings, self.command, self.name = settings, command, name
        self.binary = binary or build_dir() / "pgveneer"
        self.process = None

    def start(self, wait=True):
        config = self.folder / f"{self.name}.conf"
        config.write_text("".join("%s = '%s'\n" % (k, str(v).replace("\\", "\\\\").replace("'", "\\'"))
                                  for k, v in self.settings.items()))
        config.chmod(0o644)
        if not pathlib.Path(self.binary).exists():
            raise AssertionError(f"{self.binary} is not built")
        self.process = Process(self.name, [self.binary, self.command, "-c", config],
                               self.folder / f"{self.name}.log", signal.SIGTERM, cwd=self.folder)
        if wait and self.command != "worker":
            wait_ready(self.process, self.settings["listen_port"])
        return self

    def stop(self, sig=signal.SIGTERM):
        """Exit code; AssertionError when a sanitizer or an assert spoke."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        code = process.stop(sig, timeout=TIMEOUT_S + 15)  # clients may finish for 30 s
        found = SANITIZER.search(process.text())
        if found:
            raise AssertionError(f"{self.name}: {found.group(0)}\n{process.tail(120)}")
        return code

    def log_text(self):
        return (self.folder / f"{self.name}.log").read_text(errors="replace")


def scram_verifier(password, rounds):
    """What pg_authid holds."""
    salt = b"0123456789abcdef"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    key = hmac.digest(salted, b"Client Key", "sha256")
    parts = [salt, hashlib.sha256(key).digest(), hmac.digest(salted, b"Server Key", "sha256")]
    return "SCRAM-SHA-256${}:{}${}:{}".format(rounds, *[base64.b64encode(p).decode() for p in parts])


def prepared_data(auth, superuser_service, version, rounds):
    """A data folder with the roles and databases, made once for all tests of a build: a copy of it takes a
    tenth of the CPU of initdb."""
    server = pathlib.Path(pg_bin("postgres", version))
    depends = (str(server), server.stat().st_mtime_ns, auth, superuser_service, rounds, pathlib.Path(__file__).read_text())
    folder = build_dir() / "clusters"
    folder.mkdir(exist_ok=True)
    prepared = folder / hashlib.sha256(repr(depends).encode()).hexdigest()[:16]
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not prepared.exists():
            with Cluster(auth, superuser_service, version=version, prepared=False, rounds=rounds) as c:
                c.postgres.stop()
                copy_folder(c.postgres.data, folder / "new")
            (folder / "new").rename(prepared)
    return prepared


def copy_folder(source, target):
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)


class Cluster:
    """PostgreSQL and any number of pgveneer processes in a scratch folder.

    auth              scram-sha-256, md5, password or trust
    superuser_service the role service is a superuser
    settings          of PostgreSQL
    version           18: the server of scripts/fetch_postgresql18.sh; else the newest installed one, or what
                      PGVENEER_TEST_PG says
    prepared          False: initdb makes the data folder, not a copy
    rounds            of SCRAM. One: thousands of logins do not pay for 4096 each; pgjdbc and others refuse fewer
    .direct .proxy    Endpoints; .folder a scratch folder that postgres can read and write
    """

    def __init__(self, auth="scram-sha-256", superuser_service=False, settings=(), version=None, prepared=True,
                 rounds=1):
        self.prepared = prepared
        self.rounds = rounds
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pgveneer-test-"))
        self.folder.chmod(0o755)
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self.superuser_service = superuser_service
        if version is None and os.environ.get("PGVENEER_TEST_PG"):
            version = int(os.environ["PGVENEER_TEST_PG"])
        self.postgres = Postgres(self.folder, auth, settings, version)
        self.direct = Endpoint("127.0.0.1", self.postgres.port)
        self.proxy = None
        self.children = []

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
        try:
            if self.prepared:
                copy_folder(prepared_data(self.postgres.method(), self.superuser_service, self.postgres.version, self.rounds),
                            self.postgres.data)
            else:
                self.postgres.init()
            self.postgres.configure()
            self.postgres.start()
            if not self.prepared:
                self.create_roles()
        except BaseException:
            self.close(failed=True)
            raise
        return self

    def __exit__(self, kind, value, traceback):
        self.close(failed=kind is not None)

    def create_roles(self):
        rights = "SUPERUSER" if self.superuser_service else "NOSUPERUSER"
        passwords = {name: name if self.postgres.method() == "md5" else scram_verifier(name, self.rounds)
                     for name in ("postgres", "app", "service")}
        self.direct.sql(f"""
            ALTER ROLE postgres PASSWORD '{passwords["postgres"]}';
            CREATE ROLE app LOGIN PASSWORD '{passwords["app"]}';
            CREATE ROLE service LOGIN {rights} PASSWORD '{passwords["service"]}';
            GRANT app TO service;
            CREATE DATABASE app OWNER app;
            GRANT CREATE ON DATABASE app TO service""", user="postgres", dbname="postgres")
        self.direct.sql("GRANT ALL ON SCHEMA public TO app", user="postgres")

    def proxy_settings(self, **settings):
        return {"listen_addr": "127.0.0.1", "listen_port": free_port(),
                "backend": f"host=127.0.0.1 port={self.postgres.port}",
                "service": f"host=127.0.0.1 port={self.postgres.port} user=service password=service",
                "databases": "app", "hudi_local_roots": str(self.folder), "threads": "2", **settings}

    def start_proxy(self, command="run", name="pgveneer", **settings):
        """Starts pgveneer with more settings or others; the first one becomes .proxy."""
        child = Pgveneer(self.folder, self.proxy_settings(**settings), command, name)
        self.children.append(child)
        child.start()
        if self.proxy is None and command != "worker":
            self.proxy = Endpoint("127.0.0.1", child.settings["listen_port"])
        return child

    def close(self, failed=False):
        errors = []
        for child in reversed(self.children):
            if failed and child.process is not None:
                print(f"--- {child.name}.log\n{child.process.tail(60)}", file=sys.stderr)
            try:
                child.stop()
            except AssertionError as e:
                errors.append(str(e))
        try:
            self.postgres.stop()
        except AssertionError as e:
            errors.append(str(e))
        if os.environ.get("PGVENEER_KEEP"):
            print(f"kept {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        if errors and not failed:
            raise AssertionError("\n".join(errors))
        for error in errors:
            print(error, file=sys.stderr)


class Scenarios:
    """One clear line each; a failure does not stop the others. after_failure() ends what the scenario could not.

        s = Scenarios("psql")
        @s.scenario("meta commands")
        def _(): assert …
        sys.exit(s.finish())
    """

    def __init__(self, title):
        self.title, self.passed, self.failed = title, 0, 0
        self.after_failure = lambda: None

    def run(self, name, function, *args):
        start = time.monotonic()
        try:
            function(*args)
        except Exception as e:  # told and counted, whatever it is
            self.failed += 1
            text = str(e).strip() or type(e).__name__
            print(f"FAIL {self.title}: {name}\n     " + text.replace("\n", "\n     "), flush=True)
            frames = traceback.extract_tb(e.__traceback__)
            where = next((f for f in reversed(frames) if f.filename != __file__), frames[-1])
            print(f"     at {pathlib.Path(where.filename).name}:{where.lineno}: {where.line}", flush=True)
            self.after_failure()
            return
        self.passed += 1
        print(f"ok   {self.title}: {name} ({time.monotonic() - start:.2f} s)", flush=True)

    def scenario(self, name):
        def decorate(function):
            self.run(name, function)
            return function
        return decorate

    def finish(self):
        print(f"{self.title}: {self.passed} of {self.passed + self.failed} scenarios passed", flush=True)
        return 1 if self.failed else 0


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}" if what else f"got {got!r}, want {want!r}")
