"""Reads a query's result with one process for each endpoint of a parallel retrieve cursor (psycopg2).

    python3 parallel_retrieve.py "host=127.0.0.1 port=6432 user=demo password=demo dbname=demo" "SELECT * FROM t"
"""
import multiprocessing
import sys

import psycopg2


def read_endpoint(endpoint):
    """Rows of one endpoint, in portions, so that memory stays bounded."""
    name, token, host, port, user, dbname = endpoint
    con = psycopg2.connect(host=host, port=port, user=user, dbname=dbname, password=token,
                           options="-c gp_session_role=retrieve")
    con.autocommit = True
    rows = 0
    with con.cursor() as cur:
        while True:
            cur.execute(f'RETRIEVE 10000 FROM ENDPOINT "{name}"')
            rows += cur.rowcount
            if cur.rowcount < 10000:
                con.close()
                return name, rows


def main(conninfo, query):
    con = psycopg2.connect(conninfo)  # psycopg2 begins a transaction by itself
    with con.cursor() as cur:
        cur.execute("DECLARE c1 PARALLEL RETRIEVE CURSOR FOR " + query)
        cur.execute("SELECT endpoint_name, auth_token, hostname, port FROM gp_endpoints_info()")
        who = (con.info.user, con.info.dbname)
        endpoints = [row + who for row in cur.fetchall()]
        with multiprocessing.get_context("spawn").Pool(len(endpoints)) as pool:
            for name, rows in pool.imap_unordered(read_endpoint, endpoints):
                print(f"{name}: {rows} rows")
        cur.execute("CHECK PARALLEL RETRIEVE CURSOR c1")
        print(cur.statusmessage)
    con.commit()


if __name__ == "__main__":
    main(*sys.argv[1:3])
