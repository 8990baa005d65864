#!/bin/sh
# node NODE: what each job of `inv factory --dag` runs, in the directory that HTCondor filled. It finds or makes a Python
# with roost's dependencies, unpacks roost, and leaves NODE.tar and NODE.result.json whatever happens.
set -u
node=$1
here=$(pwd)
# A file that is missing would hold the job instead of failing it.
: >"$node.tar"
: >"$node.result.json"
export ROOST_CACHE="$here/cache" ROOST_STATE="$here/state" XDG_CONFIG_HOME="$here/config"
export HOME="${HOME:-$here}" TMPDIR="${TMPDIR:-$here/tmp}"
mkdir -p "$ROOST_CACHE" "$ROOST_STATE" "$TMPDIR"
if [ -f verdict.key ]; then (umask 077 && cp verdict.key "$ROOST_STATE/verdict.key"); fi

unpack='
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for entry in wheel.infolist():
        os.chmod(wheel.extract(entry, sys.argv[2]), entry.external_attr >> 16 & 0o777 or 0o644)
'
runs() { PYTHONPATH="$here/lib${PYTHONPATH:+:$PYTHONPATH}" "$1" -c 'import roost.cli.factory_job, cyclonedx' 2>/dev/null; }

python=
for one in ${ROOST_PYTHON:-} /opt/roost/bin/python /usr/bin/python3 python3; do
  command -v "$one" >/dev/null 2>&1 || continue
  [ -d lib ] || "$one" -c "$unpack" wheels/roost-*.whl lib || exit 3
  if runs "$one"; then python=$one; break; fi
done
if [ -z "$python" ]; then
  # The wheels that came along, or the package index. The system's Python alone sees python3-guestfs.
  echo "node: no Python here has roost's dependencies: installing them" >&2
  /usr/bin/python3 -m venv --system-site-packages venv >&2 || exit 3
  set -- wheels/*.whl
  if [ $# -gt 1 ]; then set -- --no-index --find-links wheels; else set --; fi
  venv/bin/python -m pip install --quiet "$@" wheels/roost-*.whl >&2 || exit 3
  python=$here/venv/bin/python
  runs "$python" || { echo "node: roost does not run with $python" >&2; exit 3; }
fi
export PYTHONPATH="$here/lib${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -P -m roost.cli.factory_job "$node"
