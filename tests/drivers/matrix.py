"""The driver matrix: each client runs the same scenarios directly and through pgveneer, and must see
the same both times. Vendor statements run through pgveneer only, against what they must give.

    matrix.py                 all clients; prints the table that stands in README.md; exit 1 on any failure
    matrix.py pgx psycopg3    these clients
    matrix.py --tools         pg_dump and the replication clients only (tools.py)
    matrix.py --logins        ways of logging in only (logins.py)

A client is a program that prints one JSON line a scenario (python/scenario.py says how). One that cannot
be had (no toolchain, no registry) is skipped with a message; under CI that is a failure.
"""
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from cluster import Cluster, build_dir  # noqa: E402

import logins  # noqa: E402
import tools  # noqa: E402

SCENARIOS = ["connect", "parameters", "binary", "prepared", "portals", "batch", "pipeline", "copy_in", "copy_out",
             "cancel", "timeout", "notices", "listen", "large_objects", "batch_error", "transaction", "savepoint",
             "large_value", "vendor_task", "vendor_cursor", "vendor_rebuild"]
WORK = build_dir() / "drivers"
LIBPQ18 = HERE.parent.parent / ".deps/postgresql18/lib"
PYTHON = "/usr/bin/python3"  # Debian's: the packages are there
JDBC = "/usr/share/java/postgresql.jar"


PREPARING = threading.Lock()  # two clients may share a folder
ONE_VENDOR = threading.Lock()  # the table to be rebuilt has one name


class Missing(Exception):
    """What a client needs cannot be had here."""


def need(*commands):
    for command in commands:
        if shutil.which(command) is None:
            raise Missing(f"no {command}")


def make(command, folder, **env):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **env})
    if done.returncode != 0:
        raise Missing(f"{' '.join(map(str, command))}:\n{(done.stdout + done.stderr)[-2000:]}")


def copy_of(name):
    """Package managers write beside their manifest: not into the source tree."""
    shutil.copytree(HERE / name, WORK / name, dirs_exist_ok=True)
    return WORK / name


def python(name):
    return lambda: ([PYTHON, HERE / "python" / f"run_{name}.py"], {})


def pg8000():
    """Debian's is of a time before SCRAM: the registry's."""
    folder = WORK / "pg8000"
    if not folder.exists():
        make([PYTHON, "-m", "pip", "install", "--quiet", "--target", folder, "pg8000==1.31.2"], HERE)
    command, env = python("pg8000")()
    return command, {**env, "PYTHONPATH": str(folder)}


def with_libpq18(program):
    def prepare():
        if not LIBPQ18.exists():
            make(["scripts/fetch_postgresql18.sh"], HERE.parent.parent)
        command, env = program()
        return command, {**env, "LD_LIBRARY_PATH": str(LIBPQ18)}
    return prepare


def node_folder():
    need("node", "npm")
    folder = copy_of("node")
    if not (folder / "node_modules").exists():
        make(["npm", "ci", "--silent", "--no-audit", "--no-fund"], folder)
    return folder


def node(name):
    return lambda: (["node", node_folder() / f"run_{name}.js"], {})


def go(name):
    def prepare():
        need("go")
        folder = copy_of("go")
        make(["go", "build", "-tags", name, "-o", f"run_{name}", "."], folder, GOFLAGS="-mod=mod -buildvcs=false")
        return [folder / f"run_{name}"], {}
    return prepare


def rust():
    need("cargo")
    folder = copy_of("rust")
    make(["cargo", "build", "--quiet", "--locked"], folder)
    return [folder / "target/debug/run_tokio_postgres"], {}


def java():
    need("java")
    return ["java", "-Xmx512m", "-cp", JDBC, HERE / "java/Run.java"], {}


CLIENTS = {  # name in the table: how it is made ready
    "psql 15": python("psql"),
    "psql, libpq 18": with_libpq18(python("psql")),
    "psycopg 3": python("psycopg3"),
    "psycopg 3, libpq 18": with_libpq18(python("psycopg3")),
    "psycopg2": python("psycopg2"),
    "psqlODBC": python("odbc"),
    "pgjdbc": java,
    "asyncpg": python("asyncpg"),
    "pg8000": pg8000,
    "node pg": node("pg"),
    "postgres.js": node("postgres"),
    "pgx v5": go("pgx"),
    "lib/pq": go("libpq"),
    "tokio-postgres": rust,
}


def run(client, endpoint, scenarios):
    """{scenario: line} of one run of the program."""
    command, env = client
    env = {**os.environ, **env, "PGHOST": "127.0.0.1", "PGPORT": str(endpoint.port), "PGUSER": "app",
           "PGPASSWORD": "app", "PGDATABASE": "app", "PGSSLMODE": "disable", "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen([*map(str, command), *scenarios], env=env, text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    try:
        out, told = process.communicate(timeout=240)
        end = f"the program ended ({process.returncode})"
    except subprocess.TimeoutExpired:
        process.kill()
        out, told = process.communicate()
        end = "the program hangs"
    lines = {}
    for line in out.splitlines():
        if line.startswith("{"):
            line = json.loads(line)
            lines[line["scenario"]] = line
    for name in scenarios:
        if name not in lines:
            lines[name] = {"failed": f"{end}\n{told[-1500:]}"}
            end, told = "not reached", ""
    return lines


def judge(name, direct, proxied):
    """(mark, text): ok, n/a or FAIL."""
    if "na" in proxied:
        return "n/a", proxied["na"]
    if "failed" in proxied:
        return "FAIL", proxied["failed"]
    if not name.startswith("vendor_"):
        if "failed" in direct:
            return "FAIL", "directly: " + direct["failed"]
        if direct["saw"] != proxied["saw"]:
            return "FAIL", f"directly {direct['saw']!r}\nproxied  {proxied['saw']!r}"
    if proxied["saw"] is None:
        return "FAIL", "nothing was seen"
    return "ok", ""


def judge_client(cluster, name):
    """{scenario: (mark, text)}; Missing when the client cannot be had."""
    with PREPARING:
        client = CLIENTS[name]()
    vendor = [s for s in SCENARIOS if s.startswith("vendor_")]
    common = [s for s in SCENARIOS if s not in vendor]
    direct = run(client, cluster.direct, common)
    proxied = run(client, cluster.proxy, common)
    with ONE_VENDOR:
        proxied |= run(client, cluster.proxy, vendor)
    return {s: judge(s, direct.get(s, {}), proxied[s]) for s in SCENARIOS}


def print_table(results):
    print("\n| client | scenarios passed | not in the client's interface |\n|---|---|---|")
    for name, marks in results.items():
        passed = sum(m == "ok" for m, _ in marks.values())
        absent = [s for s, (m, _) in marks.items() if m == "n/a"]
        print(f"| {name} | {passed} of {len(marks) - len(absent)} | {', '.join(absent)} |")


def report(name, marks):
    failed = 0
    for scenario, (mark, text) in marks.items():
        if mark == "FAIL":
            failed += 1
            print(f"FAIL {name}: {scenario}\n     " + text.strip().replace("\n", "\n     "))
    print(f"{'FAIL' if failed else 'ok  '} {name}: {sum(m == 'ok' for m, _ in marks.values())} passed, {failed} failed",
          flush=True)
    return failed


def run_clients(names):
    results, failed, missing = {}, 0, []
    with Cluster(rounds=4096) as c:
        c.start_proxy("run", databases="app")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            work = {name: pool.submit(judge_client, c, name) for name in names}
            for name, future in work.items():
                try:
                    results[name] = future.result()
                    failed += report(name, results[name])
                except Missing as e:
                    missing.append(name)
                    print(f"skip {name}: {e}", flush=True)
    print_table(results)
    return failed + (len(missing) if os.environ.get("CI") else 0)


def run_logins():
    try:
        return logins.run(node_folder, LIBPQ18)
    except Missing as e:
        print(f"skip logins: {e}", flush=True)
        return 1 if os.environ.get("CI") else 0


def main(arguments):
    wanted = [name for name in CLIENTS if not arguments or any(a in name.replace(" ", "") for a in arguments)]
    failed = 0
    if arguments not in (["--tools"], ["--logins"]):
        failed += run_clients(wanted)
    if not arguments or arguments == ["--logins"]:
        failed += run_logins()
    if not arguments or arguments == ["--tools"]:
        failed += tools.run()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
