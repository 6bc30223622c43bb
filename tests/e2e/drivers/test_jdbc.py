"""pgjdbc through pgveneer: starts the servers and Drivers.java, which says what it does."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Cluster  # noqa: E402

DRIVER = "/usr/share/java/postgresql.jar"
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Drivers.java")


def main():
    with Cluster() as c:
        c.start_proxy("proxy")
        urls = [f"jdbc:postgresql://127.0.0.1:{e.port}/app" for e in (c.direct, c.proxy)]
        return subprocess.run(["java", "-Xmx512m", "-cp", DRIVER, PROGRAM, *urls], timeout=600).returncode


if __name__ == "__main__":
    sys.exit(main())
