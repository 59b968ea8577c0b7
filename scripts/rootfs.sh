#!/usr/bin/env bash
# Lays PiCloud on a Debian root with systemd: rootfs/, the binaries, its users, and
# which units are on. Run `make build` first, for the architecture of the root.
#
#   scripts/rootfs.sh ROOT [BINARIES]
set -euo pipefail
cd "$(dirname "$0")/.."
root=$1 binaries=${2:-bin}

tar -C rootfs --owner=0 --group=0 -c . | tar -C "$root" -x --no-overwrite-dir
install -m 0755 -t "$root/usr/bin" "$binaries/picloud"
install -m 0755 -t "$root/usr/lib/picloud" "$binaries/picloud-worker"
# The database is tuned as that of `picloud dev` is.
install -m 0644 -t "$root/usr/lib/picloud" services/postgres/cluster/postgresql.conf

systemd-sysusers --root="$root" picloud.conf
units=(rootfs/usr/lib/systemd/system/picloud*)
systemctl --root="$root" --quiet preset postgresql.service "${units[@]##*/}"
