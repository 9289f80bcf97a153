#!/bin/sh
# Checks rendered manifests against the Kubernetes schemas:
#   kubectl kustomize k8s/overlays/local | scripts/k8s/validate.sh
#   scripts/k8s/validate.sh FILE...
# The schemas come with a Python package, installed once into a venv under target/. Exits with 77,
# saying why, where that cannot be had (no python3, or no network).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${CARGO_TARGET_DIR:-$root/target}/k8s-validate

skip() {
    echo "skipped: $1" >&2
    exit 77
}

if ! "$venv/bin/python" -c 'import kubernetes_validate' 2>/dev/null; then
    command -v python3 >/dev/null || skip "no python3"
    rm -rf "$venv"
    python3 -m venv "$venv" >/dev/null 2>&1 || skip "python3 has no venv module"
    if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --retries 1 \
        'kubernetes-validate==1.37.0' >/dev/null 2>&1; then
        rm -rf "$venv"
        skip "kubernetes-validate cannot be installed"
    fi
fi
[ $# -gt 0 ] || set -- /dev/stdin
exec "$venv/bin/python" "$here/validate.py" "$root/k8s/schemas/cluster.json" "$@"
