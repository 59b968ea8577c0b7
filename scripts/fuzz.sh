#!/usr/bin/env bash
# Fuzzes every target for the given time: scripts/fuzz.sh 30s ./services/...
# What it finds is written to testdata/fuzz beside the test: commit it.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:-30s}
packages=${2:-./...}

go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' "$packages" | while read -r package; do
	go test -list '^Fuzz' "$package" </dev/null | { grep '^Fuzz' || true; } | while read -r target; do
		echo "$package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" </dev/null
	done
done
