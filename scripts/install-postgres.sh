#!/usr/bin/env bash
# Installs what the tests of the PostgreSQL store run: the server and PgBouncer, from Debian. Nothing is started:
# each test process runs a server of its own.
set -euo pipefail

if compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null && [ -x /usr/sbin/pgbouncer ]; then
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	echo "PostgreSQL or PgBouncer is missing: install the Debian packages postgresql and pgbouncer, or run $0 as root" >&2
	exit 1
fi
# No server of the machine's own is wanted.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
	echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends postgresql pgbouncer
