"""The support schema alone: psql straight to a private PostgreSQL, no proxy.

Every NAME.sql is run in a database of its own, and what psql prints is compared with NAME.out; task
ids, oids and times are masked. All of it twice: installed by a superuser, and by a service role that
has CREATE on the database and nothing else. The migration script is run twice each time.

    run.py [--accept] [NAME...]     --accept writes the .out files
"""
import difflib
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "support"))
import cluster  # noqa: E402

MASKS = [
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{8}fffe\b"), "<task id>"),
    (re.compile(r"\b20[2-9]\d-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d\b"), "<time>"),
    (re.compile(r"^LOCATION:.*\n", re.M), ""),
    (re.compile(r"^psql:\S*:\d+: ", re.M), ""),
]


def masked(text):
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    return text


def prepare(c):
    """Roles, and the template database with the support schema, installed twice."""
    script = subprocess.run([cluster.build_dir() / "print_migrations"], check=True, text=True,
                            capture_output=True).stdout
    c.direct.sql("".join(f"CREATE ROLE {r} LOGIN PASSWORD '{r}';" for r in ("alice", "bob", "carol", "dora")),
                 user="postgres", dbname="postgres")
    for _ in range(2):
        c.direct.sql(script, user="service")


def run(c, name, accept):
    c.direct.sql(f"CREATE DATABASE test_{name} TEMPLATE app OWNER app", user="postgres", dbname="postgres")
    done = subprocess.run(["psql", "-X", "-a", "-q", "-v", "VERBOSITY=verbose", "-v", "SHOW_CONTEXT=never"],
                          stdin=open(HERE / f"{name}.sql"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, cwd=HERE, timeout=120, env=c.direct.env("postgres", f"test_{name}"))
    got = masked(done.stdout)
    out = HERE / f"{name}.out"
    if accept:
        out.write_text(got)
    want = out.read_text() if out.exists() else ""
    if got != want:
        raise AssertionError("".join(difflib.unified_diff(want.splitlines(True), got.splitlines(True),
                                                          f"{name}.out", "got")))


def main():
    accept = "--accept" in sys.argv[1:]
    names = [a for a in sys.argv[1:] if not a.startswith("-")] or sorted(p.stem for p in HERE.glob("*.sql"))
    failed = 0
    for superuser in (False, True):
        s = cluster.Scenarios("sql, service a superuser" if superuser else "sql")
        with cluster.Cluster(superuser_service=superuser) as c:
            prepare(c)
            for name in names:
                s.run(name, run, c, name, accept and not superuser)
        failed += s.finish()
    return failed


sys.exit(main())
