"""What a client gets through pgveneer equals, byte for byte, what the server sends it directly: the corpus
of `pgveneer probe` (proxy/probe/), on PostgreSQL 15 and 18, in segments of 1, 2, 3, 7 and 8191 bytes,
whole and coalesced. And the server answers what answers.txt says, so that an input tests what it names.

    test_differential.py --write     writes answers.txt from what the servers answer now
"""
import os
import pathlib
import subprocess
import sys

from cluster import Cluster, Scenarios, build_dir, equal

ANSWERS = pathlib.Path(__file__).with_name("answers.txt")
# 5 inputs on Debian's PostgreSQL 15, which offers GSSAPI encryption: each leg may do as it likes.
NOT_COMPARED = {15: 5, 18: 0}
IS_SANITIZED = "asan" in os.environ.get("PGVENEER_BUILD", "") or "tsan" in os.environ.get("PGVENEER_BUILD", "")


def probe(*args, expect=None):
    """The output's lines; AssertionError with its end when the exit code is another one."""
    done = subprocess.run([build_dir() / "pgveneer", "probe", "--threads", "16", *args], text=True,
                          capture_output=True, timeout=600)
    if expect is not None and done.returncode != expect:
        raise AssertionError(f"exit code {done.returncode}\n" + done.stdout[-6000:] + done.stderr[-2000:])
    return done.stdout.splitlines()


def known_answers(version):
    """Lines "input: answer", or "[15] input: answer" where the versions differ."""
    lines = [line for line in ANSWERS.read_text().splitlines() if line and not line.startswith("#")]
    return sorted(line.removeprefix(f"[{version}] ") for line in lines
                  if not line.startswith("[") or line.startswith(f"[{version}]"))


def write_answers(answers):
    both = set(answers[15]) & set(answers[18])
    lines = [("", line) for line in both]
    lines += [(f"[{version}] ", line) for version in answers for line in answers[version] if line not in both]
    head = ["# Types of the messages that PostgreSQL 15 and 18 answer to each input of proxy/probe/ (a number: so",
            "# many of them), without an ordinary login's. Written by test_differential.py --write."]
    lines.sort(key=lambda pair: (pair[1].split(": ")[0:2], pair[0]))
    ANSWERS.write_text("\n".join(head + [mark + line for mark, line in lines]) + "\n")


class Server:
    """A cluster and a proxy in front of it, and how the probe reaches both."""

    def __init__(self, version):
        self.version = version
        self.cluster = Cluster(settings={"wal_level": "logical", "max_connections": "200",
                                         "wal_keep_size": "1GB"},  # an input asks for the first segment
                               version=18 if version == 18 else None)

    def __enter__(self):
        self.cluster.__enter__()
        self.cluster.direct.sql("ALTER ROLE app REPLICATION", user="postgres")
        self.cluster.start_proxy("proxy")
        self.direct, self.proxied = self.cluster.direct.dsn(), self.cluster.proxy.dsn()
        return self

    def __exit__(self, *args):
        self.cluster.__exit__(*args)

    def answers(self):
        return sorted(probe("--direct", self.direct, "--answers", expect=0))


def main():
    s = Scenarios("differential")
    inputs = probe("--list", expect=0)
    with Server(15) as old, Server(18) as new:
        if "--write" in sys.argv:
            write_answers({15: old.answers(), 18: new.answers()})
            return 0

        def corpus(server, *args):
            last = probe("--direct", server.direct, "--proxied", server.proxied, *args, expect=0)
            counted = [line for line in last if "were not compared" in line]
            equal(last[0].split(", ")[0], f"{len(inputs)} inputs")
            equal(sum(int(line.split()[0]) for line in counted), NOT_COMPARED[server.version], "not compared")

        for server in old, new:
            if IS_SANITIZED and server is new:
                break
            segments = ["--segments", "1,coalesced"] if IS_SANITIZED else []
            s.run(f"PostgreSQL {server.version}: {len(inputs)} inputs, 0 differences", corpus, server, *segments)
            s.run(f"PostgreSQL {server.version}: the server's answers are the known ones",
                  lambda: equal(server.answers(), known_answers(server.version)))

        @s.scenario("there are at least 300 inputs, and no name twice")
        def _():
            assert len(inputs) >= 300, len(inputs)
            equal(len(set(inputs)), len(inputs))

        @s.scenario("the probe finds differences: one server is 15, the other 18")
        def _():
            lines = probe("--direct", old.direct, "--proxied", new.proxied, "--segments", "whole",
                          "--only", "extended: a Query inside a cycle", expect=1)
            assert any(line.startswith("differs  extended: a Query inside a cycle (whole)") for line in lines), lines
            assert lines[-1].endswith("2 differences"), lines

        @s.scenario("wrong options: exit code 2")
        def _():
            probe(expect=2)
            probe("--direct", old.direct, expect=2)
            probe("--direct", old.direct, "--proxied", "nonsense", expect=2)
            probe("--direct", old.direct, "--proxied", old.proxied, "--segments", "0", expect=2)

        @s.scenario("a server that cannot be reached: told for each input, exit code 1")
        def _():
            lines = probe("--direct", "host=127.0.0.1 port=1 user=app", "--proxied", old.proxied, "--only",
                          "simple: select", expect=1)
            assert lines[0].startswith("failed   simple: select, direct: "), lines
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
