"""The README's transcript, as printed, against what `make run` starts.

scripts/run_demo.sh is started with a folder and a port of its own; then the README's blocks are done in
their order: ```sql through psql as the README says, ```sh in a shell. A ```text block is what the
sql block before it prints; rows come when a run has ended, so a query alone in its block is asked again until
it does. Task ids are masked, blanks at line ends and the width of columns are not compared.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from cluster import ROOT, Endpoint, Process, Scenarios, build_dir, equal, free_port, wait_until

TASK_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{8}fffe")


def blocks():
    """(kind, text) of the fenced blocks under "## Try it"."""
    text = (ROOT / "README.md").read_text()
    part = text.split("## Try it", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", part, re.M | re.S)


def plain(output):
    """What is compared: cells and lines, not their widths."""
    lines = TASK_ID.sub("<task id>", output).strip("\n").split("\n")
    return [re.sub(r"-+", "-", re.sub(r"\s+", " ", line)).strip() for line in lines]


class Demo:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pgveneer-demo-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.env = {**os.environ, "PGVENEER_DIR": str(self.folder / "demo"), "PGVENEER_PORT": str(self.port)}
        self.starts = 0
        self.process = None

    def start(self):
        self.starts += 1
        self.process = Process("make run", [ROOT / "scripts/run_demo.sh", build_dir()],
                               self.folder / f"run{self.starts}.log", signal.SIGTERM, env=self.env, cwd=ROOT)
        wait_until(lambda: "pgveneer is ready" in self.process.text() or not self.process.is_running(),
                   "the demo is ready", timeout=120)
        if not self.process.is_running():
            raise AssertionError("make run ended\n" + self.process.tail())

    def stop(self):
        process, self.process = self.process, None
        equal(process.stop(signal.SIGTERM, timeout=60), 0, "exit code of make run")

    def psql(self, text):
        done = subprocess.run(["psql", "-X", f"postgresql://demo:demo@127.0.0.1:{self.port}/demo"], input=text,
                              text=True, capture_output=True, env={**os.environ, "PGTZ": "UTC"}, timeout=60)
        return done.stdout + done.stderr

    def shell(self, text):
        subprocess.run(["bash", "-euc", text.replace("demo_commit.sh", f"demo_commit.sh {build_dir()}")],
                       check=True, env=self.env, cwd=ROOT, stdout=subprocess.DEVNULL)

    def expect(self, sql, text):
        """The output of sql is text; a lone query may need a run to end first."""
        end = time.monotonic() + (60 if sql.count(";") == 1 else 0)
        while True:
            got = plain(self.psql(sql))
            if got == plain(text) or time.monotonic() > end:
                break
            time.sleep(0.5)
        if got != plain(text):
            raise AssertionError("the README says\n" + "\n".join(plain(text)) + "\npsql says\n" + "\n".join(got))

    def close(self):
        try:
            if self.process is not None:
                print(self.process.tail(), file=sys.stderr)
                self.process.stop(signal.SIGTERM, timeout=60)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def transcript(demo):
    todo = blocks()
    assert [k for k, _ in todo].count("text") >= 5, "the README's transcript was not found"
    pending = None
    for kind, text in todo:
        if kind == "sql":
            pending = text
        elif kind == "sh":
            demo.shell(text)
        else:
            demo.expect(pending, text)


def second_start(demo):
    """`make run` again finds the data of the first."""
    demo.stop()
    demo.start()
    equal(demo.psql("SELECT count(*) FROM in_rel").split()[2], "5", "rows after the second start")


def port_taken(demo):
    done = subprocess.run([ROOT / "scripts/run_demo.sh", build_dir()], env=demo.env, cwd=ROOT, text=True,
                          capture_output=True, timeout=60)
    equal(done.returncode, 1, "exit code")
    assert f"Port {demo.port} of 127.0.0.1 is taken" in done.stderr, done.stderr


def main():
    s = Scenarios("readme")
    demo = Demo()
    try:
        s.run("make run", demo.start)
        s.run("transcript", transcript, demo)
        s.run("port taken", port_taken, demo)
        s.run("second start", second_start, demo)
        s.run("stop", demo.stop)
    finally:
        demo.close()
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
