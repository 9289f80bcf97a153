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

# Runs a step unless it has been run before with the same inputs, files below the root. The stamp, a
# sum over them, is written last: what was interrupted is begun anew.
once() {
    step=$1
    shift
    sum=$( (cd "$root" && echo "$parts $tools" && find "$@" -type f ! -path '*/__pycache__/*' \
        ! -path '*/node_modules/*' -exec cksum {} + | sort) | cksum)
    [ "$(cat "$parts/.$step" 2>/dev/null)" = "$sum" ] && return
    say "$step in $parts"
    mkdir -p "$parts"
    rm -f "$parts/.$step"
    "$step"
    echo "$sum" >"$parts/.$step"
}

# Only installing needs the network, and so has a stamp of its own; a changed proto does not.
install() { once "$1" "$2" examples/run.sh; }
build() { once build_parts "examples/$language" examples/run.sh proto; }

python="$parts/venv/bin/python"

# Debian's python3 has no venv unless asked for.
has_python='import sys, venv, ensurepip; assert sys.version_info >= (3, 10)'

install_python() {
    python3 -m venv --clear "$parts/venv"
    "$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
        --requirement "$examples/python/requirements.txt"
}

case $language in
python)
    need python3 -c "$has_python"
    tools=$(python3 --version)
    build_parts() {
        rm -rf "$parts/generated" && mkdir "$parts/generated"
        # shellcheck disable=SC2086 # Several files.
        "$python" -m grpc_tools.protoc -I"$root/proto" \
            --python_out="$parts/generated" --grpc_python_out="$parts/generated" $protos
    }
    install install_python examples/python/requirements.txt
    build
    export PYTHONPATH="$parts/generated" PYTHONDONTWRITEBYTECODE=1
    exec "$python" "$here/scenario.py" "$address"
    ;;
node)
    need node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)'
    need npm --version
    tools=$(node --version)
    install_node() {
        cp "$here"/*.json "$parts"
        (cd "$parts" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    }
    build_parts() { cp "$here"/*.js "$here"/*.proto "$parts"; }
    install install_node examples/node/package-lock.json
    build
    export HEADWATER_PROTOS="$root/proto"
    exec node "$parts/scenario.js" "$address"
    ;;
go)
    need env GOTOOLCHAIN=local go -C "$here" list -m
    # protoc is no Go program; Python's package brings a known version of it along.
    tools=$(go version)
    if python3 -c "$has_python" 2>/dev/null; then
        install install_python examples/python/requirements.txt
        run_protoc() { "$python" -m grpc_tools.protoc "$@"; }
    else
        need protoc --version
        run_protoc() { protoc "$@"; }
    fi
    module=headwater.example/client
    build_parts() {
        cp -R "$here"/. "$parts"
        # The generators are pinned in go.mod, like the libraries.
        (cd "$parts" && mkdir -p bin && GOBIN="$parts/bin" go install tool)
        rm -rf "$parts/gen" && mkdir "$parts/gen"
        set -- "--go_opt=module=$module" "--go-grpc_opt=module=$module"
        for proto in $protos; do
            package="M$proto=$module/gen/$(dirname "$proto")"
            set -- "$@" "--go_opt=$package" "--go-grpc_opt=$package"
        done
        # shellcheck disable=SC2086 # Several files.
        (PATH="$parts/bin:$PATH" && run_protoc -I"$root/proto" "$@" --go_out="$parts" \
            --go-grpc_out="$parts" $protos)
        (cd "$parts" && go vet ./... && go build -o bin/client .)
    }
    build
    exec "$parts/bin/client" "$address"
    ;;
java)
    need java -version
    need javac --release 17 --help
    need mvn --version
    tools=$(java -version 2>&1)
    build_parts() {
        rm -rf "$parts/lib"
        (cd "$here" && mvn --quiet --batch-mode -Dparts="$parts" -Dprotos="$root/proto" compile \
            dependency:copy-dependencies -DoutputDirectory="$parts/lib" -DincludeScope=runtime >&2)
    }
    build
    exec java -cp "$parts/classes:$parts/lib/*" example.Scenario "$address"
    ;;
*)
    say "there is no such example"
    exit 64
    ;;
esac
