#!/usr/bin/env bash
# Builds what runs on other machines into dist/: pic for Linux, macOS and
# Windows, and the server with its worker for Linux on arm64. LDFLAGS are those
# of the Makefile.
set -euo pipefail
cd "$(dirname "$0")/.."

export CGO_ENABLED=0

build() {
	local platform=$1 command=$2 suffix=
	[[ $platform == windows/* ]] && suffix=.exe
	local out=dist/${platform/\//-}/$command$suffix
	echo "$out"
	GOOS=${platform%/*} GOARCH=${platform#*/} \
		go build -trimpath -buildvcs=false -ldflags "${LDFLAGS:--s -w}" -o "$out" "./cmd/$command"
}

for platform in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64; do
	build "$platform" pic
done
for command in picloud picloud-worker; do
	build linux/arm64 "$command"
done
