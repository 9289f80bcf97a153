#!/bin/sh
# Sets up one example and runs it against a router: examples/run.sh python|node|go|java [HOST:PORT]
# Without an address it is that of `make up`. What is installed, generated and built goes into
# target/clients (another place: HEADWATER_CLIENTS), is made anew when its inputs change, and needs
# no network once it is there. Ends with 69 if the language's tools are not on this machine.
set -eu

examples=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$examples")
language=${1:?"which one: python, node, go or java"}
address=${2:-127.0.0.1:50050}
here="$examples/$language"
parts="${HEADWATER_CLIENTS:-$root/target/clients}/$language"
protos="stores/v1/types.proto stores/v1/commands.proto stores/v1/queries.proto
    headwater/v1/headwater.proto"

say() { echo "examples/$language: $*" >&2; }

need() {
    "$@" >/dev/null 2>&1 && return
    say "tools are missing: '$*' fails"
    exit 69
}

# The folder of each language is a copy of its example and all that it is made of. The stamp, a sum
# over everything that went in, is written last: what was interrupted is begun anew.
stamp_of() {
    (cd "$root" && echo "$parts" "$($1 2>&1)" &&
        find "examples/$language" examples/run.sh proto -type f ! -path '*/__pycache__/*' \
            ! -path '*/node_modules/*' -exec cksum {} + | sort) | cksum
}

set_up() {
    stamp=$(stamp_of "$1")
    [ "$(cat "$parts/.stamp" 2>/dev/null)" = "$stamp" ] && return
    say "setting up in $parts"
    mkdir -p "$parts"
    rm -f "$parts/.stamp"
    make_parts
    echo "$stamp" >"$parts/.stamp"
}

case $language in
python)
    need python3 -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 10)'
    make_parts() {
        python3 -m venv --clear "$parts/venv"
        "$parts/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            --only-binary :all: --requirement "$here/requirements.txt"
        rm -rf "$parts/generated" && mkdir "$parts/generated"
        # shellcheck disable=SC2086 # Several files.
        "$parts/venv/bin/python" -m grpc_tools.protoc -I"$root/proto" \
            --python_out="$parts/generated" --grpc_python_out="$parts/generated" $protos
    }
    set_up 'python3 --version'
    export PYTHONPATH="$parts/generated" PYTHONDONTWRITEBYTECODE=1
    exec "$parts/venv/bin/python" "$here/scenario.py" "$address"
    ;;
node)
    need node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)'
    need npm --version
    make_parts() {
        cp "$here"/*.js "$here"/*.json "$here"/*.proto "$parts"
        (cd "$parts" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    }
    set_up 'node --version'
    export HEADWATER_PROTOS="$root/proto"
    exec node "$parts/scenario.js" "$address"
    ;;
*)
    say "there is no such example"
    exit 64
    ;;
esac
