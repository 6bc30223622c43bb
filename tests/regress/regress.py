"""PostgreSQL 15's own regression and isolation tests, against a server directly and through pgveneer.

    regress.py [regress | isolation]…       both

Each side has a server of its own, since the tests leave roles and databases behind; all run at the same
time. What counts is that pgveneer changes nothing: a test must pass on both sides, or fail on both with the
same output. Isolation tests look at a session every 10 ms, and take it for blocked by what another
session says; on a busy machine that goes wrong now and then. One whose results differ is repeated alone, and
must pass. The tests come from scripts/fetch_regress.sh; where Debian's sources cannot be reached they
are skipped with a message, but not in CI (CI=true in the environment).
"""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from cluster import ROOT, Cluster, server_user

SOURCE = ROOT / ".deps/regress15"
PGXS = pathlib.Path("/usr/lib/postgresql/15/lib/pgxs/src/test")
RESULT = re.compile(r"^(?:test |     )?\s*(\S+)\s+\.\.\. (ok|FAILED|failed \(ignored\))", re.M)
TIMEOUT_S = 1500
SUITES = {
    "regress": ("regress/pg_regress", "parallel_schedule", "regression", ["--max-connections=20"]),
    "isolation": ("isolation/pg_isolation_regress", "isolation_schedule", "isolation_regression", []),
}


def fetch():
    """False: skipped, and said so."""
    done = subprocess.run([ROOT / "scripts/fetch_regress.sh"])
    if done.returncode == 75 and os.environ.get("CI") != "true":
        print("SKIPPED: PostgreSQL's own tests need Debian's source archive")
        return False
    if done.returncode != 0:
        sys.exit("PostgreSQL's own tests could not be fetched")
    return True


class Side:
    """One run of a suite: .results name -> ok or FAILED, .outputs name -> text."""

    def __init__(self, name, endpoint, folder):
        self.name, self.endpoint, self.folder = name, endpoint, folder
        self.results, self.outputs, self.log, self.error = {}, {}, "", None

    def run(self, suite):
        try:
            self.run_suite(suite, self.endpoint, self.folder / suite)
        except Exception as e:  # told by the main thread
            self.error = e

    def run_suite(self, suite, endpoint, folder):
        shutil.copytree(SOURCE / suite, folder)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", "postgres", folder], check=True)
        self.log = self.call(suite, endpoint, folder, f"--schedule={folder / SUITES[suite][1]}", *SUITES[suite][3])
        self.results = dict(RESULT.findall(self.log))
        for path in (folder / "results").glob("*.out"):
            self.outputs[path.stem] = path.read_text(errors="replace")

    def call(self, suite, endpoint, folder, *tests):
        program, _, dbname, _ = SUITES[suite]
        done = subprocess.run(
            [PGXS / program, f"--inputdir={folder}", f"--outputdir={folder}", f"--dlpath={SOURCE}",
             f"--bindir={SOURCE / 'bin'}", f"--dbname={dbname}", f"--host={endpoint.host}",
             f"--port={endpoint.port}", "--user=postgres", *tests], text=True, capture_output=True,
            timeout=TIMEOUT_S, cwd=folder, env={**os.environ, "PGPASSWORD": "postgres", "LC_ALL": "C"}, **server_user())
        return done.stdout + done.stderr

    def passes_alone(self, suite, name):
        """One isolation test again, up to three times."""
        return suite == "isolation" and any(
            dict(RESULT.findall(self.call(suite, self.endpoint, self.folder / suite, name))).get(name) == "ok"
            for _ in range(3))

    def passed(self):
        return sum(result == "ok" for result in self.results.values())


def compare(suite, direct, proxied):
    """Names of the tests whose results pgveneer changed."""
    changed = []
    for name in sorted(set(direct.results) | set(proxied.results)):
        before, after = direct.results.get(name), proxied.results.get(name)
        if before == after and (before == "ok" or direct.outputs.get(name) == proxied.outputs.get(name)):
            continue
        if all(side.results.get(name) == "ok" or side.passes_alone(suite, name) for side in (direct, proxied)):
            print(f"     {suite} {name} passed when it was repeated alone (before: {before}, {after})")
            direct.results[name] = proxied.results[name] = "ok"
            continue
        changed.append(name)
        print(f"FAIL {suite} {name}: directly {before}, through pgveneer {after}")
    return changed


def tell(suite, sides):
    """False when pgveneer changed something."""
    for side in sides:
        if side.error is not None:
            raise side.error
        if not side.results:
            sys.exit(f"{suite} {side.name}: no test was run\n{side.log[-3000:]}")
    changed = compare(suite, *sides)
    print(f"{suite}: {len(sides[0].results)} tests; " +
          "; ".join(f"{side.name} {side.passed()} passed" for side in sides) +
          f"; changed by pgveneer: {len(changed)}", flush=True)
    failed = [name for name, result in sides[0].results.items() if result != "ok"]
    if failed:
        print(f"     not passed directly either: {' '.join(failed)}")
    if changed and "PGVENEER_KEEP" not in os.environ:
        print("     PGVENEER_KEEP=1 keeps the folders with results/ and regression.diffs")
    return not changed


def run(suites):
    with contextlib.ExitStack() as stack:
        sides = {}
        for suite in suites:
            one, other = (stack.enter_context(Cluster(settings={"max_connections": "120"})) for _ in range(2))
            other.start_proxy("proxy")
            sides[suite] = [Side("directly", one.direct, one.folder),
                            Side("through pgveneer", other.proxy, other.folder)]
        threads = [threading.Thread(target=side.run, args=[suite]) for suite in suites for side in sides[suite]]
        [t.start() for t in threads]
        [t.join() for t in threads]
        return all([tell(suite, sides[suite]) for suite in suites])


def main():
    suites = sys.argv[1:] or list(SUITES)
    if not fetch():
        return 0
    return 0 if run(suites) else 1


if __name__ == "__main__":
    sys.exit(main())
