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

# The binaries that the whole-stack tests run, built once for all packages.
make --no-print-directory build
export PICLOUD_TEST_BIN=$PWD/bin

# What the packages start (workers, PostgreSQL, servers) is held to deadlines, so
# one package is tested at a time; compiling goes first, side by side.
go build ./...
exec go test -p 1 -timeout 12m "$@" ./...
