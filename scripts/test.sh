#!/usr/bin/env bash
# Runs all tests, with the npm libraries that the examples are made of.
# Arguments go to `go test`.
set -euo pipefail
cd "$(dirname "$0")/.."

for lock in examples/*/package-lock.json; do
	[[ -e $lock ]] || continue
	dir=${lock%/*}
	# npm leaves a copy of the lock file behind when it has installed everything.
	if [[ $dir/node_modules/.package-lock.json -nt $lock ]]; then
		continue
	fi
	echo "npm ci in $dir"
	npm ci --prefix "$dir" --no-audit --no-fund --ignore-scripts --loglevel=error
done

# Packages with worker processes and Postgres clusters of their own share the
# machine: no more than two at once.
exec go test -p 2 -timeout 12m "$@" ./...
