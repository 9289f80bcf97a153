#!/bin/sh
# Checks rendered manifests against the schemas of Kubernetes and of CloudNativePG:
#   scripts/k8s/kubectl.sh kustomize k8s/overlays/local | scripts/k8s/validate.sh
#   scripts/k8s/validate.sh FILE...
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=$("$here/tools.sh")
[ $# -gt 0 ] || set -- /dev/stdin
exec "$tools/bin/python" "$here/validate.py" "$root/k8s/schemas" "$@"
