"""pgjdbc through pgveneer: starts the servers and Drivers.java, which says what it does."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
from seed import Seed  # noqa: E402
from cluster import JAVA, Cluster, build_dir  # noqa: E402

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Drivers.java")


def java(*args):
    return subprocess.run([*JAVA, PROGRAM, *map(str, args)], timeout=600).returncode


def url(endpoint):
    return f"jdbc:postgresql://127.0.0.1:{endpoint.port}/app"


def main():
    with Cluster(rounds=4096) as c:
        c.start_proxy("proxy")
        failed = java(url(c.direct), url(c.proxy))
    with Seed() as s:
        return java("seed", url(s.cluster.proxy), s.first_commit, build_dir() / "hudi_writer", s.folder) or failed


if __name__ == "__main__":
    sys.exit(main())
