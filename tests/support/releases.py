"""Installs the support schema as a release shipped it: handlers/sql_revisions.txt says which SQL files that
were; texts that are no more in the tree are in tests/e2e/sql/shipped."""
import hashlib

from cluster import ROOT

LIST = ROOT / "handlers/sql_revisions.txt"
SHIPPED = ROOT / "tests/e2e/sql/shipped"
WITHOUT_REVISIONS = ("b5608e3", "21813b4")  # of pgveneer.migration


def releases():
    """{release: [(feature/name, revision, sha256)]}, oldest first."""
    found = {}
    for line in LIST.read_text().splitlines():
        words = line.split()
        if words[0] == "release":
            files = found[words[1]] = []
        elif words[0] != "#":
            files.append((words[0], int(words[1]), words[2]))
    return found


def text_of(name, sha256):
    feature, file = name.split("/")
    for path in (ROOT / f"handlers/{feature}/sql/{file}.sql", SHIPPED / f"{name}.{sha256[:8]}.txt"):
        if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path.read_text()
    raise AssertionError(f"the text of {name} with {sha256} is missing")


def checksum(text):
    """base/migration.c"""
    h = 14695981039346656037
    for byte in text.encode():
        h = (h ^ byte) * 1099511628211 % 2 ** 64
    return f"{h:016x}"


def script_of(release):
    yield """
        CREATE SCHEMA pgveneer;
        CREATE TABLE pgveneer.migration (
            feature text NOT NULL, name text NOT NULL, checksum text NOT NULL,
            installed_at timestamptz NOT NULL DEFAULT pg_catalog.now(), PRIMARY KEY (feature, name));
        GRANT USAGE ON SCHEMA pgveneer TO PUBLIC;
        GRANT SELECT ON pgveneer.migration TO PUBLIC;"""
    if release not in WITHOUT_REVISIONS:
        yield "ALTER TABLE pgveneer.migration ADD COLUMN revision integer NOT NULL DEFAULT 1;"
    for name, revision, sha256 in releases()[release]:
        text = text_of(name, sha256)
        feature, file = name.split("/")
        yield text
        yield f"INSERT INTO pgveneer.migration VALUES ('{feature}', '{file}', '{checksum(text)}', now()" + \
            ("" if release in WITHOUT_REVISIONS else f", {revision}") + ");"


def install(c, release, dbname):
    c.direct.sql("\n".join(script_of(release)), user="service", dbname=dbname)
