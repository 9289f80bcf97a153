#!/bin/sh
# Makes the passwords that the programs log in with, once: k8s/secrets.sh [NAMESPACE]. Those that
# exist stay as they are. The operator gives them to the database, the pods put them into their
# URLs: so they are hexadecimal, which needs no quoting.
set -eu

namespace=${1:-headwater}
for login in write-db-command-svc=headwater_command_svc \
    write-db-projector=headwater_projector_svc \
    write-db-query-svc=headwater_query_svc \
    read-db-projector=headwater_projector_svc \
    read-db-query-svc=headwater_query_svc; do
    secret=${login%%=*}
    user=${login#*=}
    if kubectl --namespace "$namespace" get secret "$secret" >/dev/null 2>&1; then
        echo "$secret exists"
        continue
    fi
    password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    # On standard input, since other users of the machine can read arguments. The label makes the
    # operator notice a change.
    kubectl --namespace "$namespace" create -f - <<END
apiVersion: v1
kind: Secret
metadata:
  name: $secret
  labels: {app.kubernetes.io/part-of: headwater, cnpg.io/reload: "true"}
type: kubernetes.io/basic-auth
stringData: {username: $user, password: "$password"}
END
done
