#!/bin/sh
# audit.sh PIP_AUDIT LOCK...: known vulnerabilities of the pinned versions. Nothing is installed or resolved for it.
# Exit: 0 none known, 1 not every package could be asked about, 3 some are known.
set -u
audit=$1
shift
said=$(mktemp)
trap 'rm -f "$said"' EXIT
worst=0
for lock in "$@"; do
  echo "$lock"
  # --strict: a package that the advisories do not know is no clean one.
  "$audit" --strict --disable-pip --require-hashes --progress-spinner off --timeout 30 -r "$lock" 2> "$said"
  code=$?
  if grep -qE '^Found [0-9]+ known vulnerabilit' "$said"; then
    worst=3
  elif [ $code -ne 0 ]; then
    echo "error: $lock could not be audited: $(grep -vE '^( |$)' "$said" | tail -n 1 | cut -c 1-250)" >&2
    echo "  allowed: a network that reaches the advisories of PyPI, and a lock in which each package has its hashes" >&2
    echo "  to do: run it where there is one; .github/workflows/audit.yaml does so daily" >&2
    exit 1
  fi
  cat "$said" >&2
done
exit $worst
