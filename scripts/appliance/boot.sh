#!/usr/bin/env bash
# Boots the appliance in a container of systemd-nspawn. It is process 1 of a pid
# and a mount namespace of its own: whatever ends it ends all, mounts included.
#
#   boot.sh ROOT RUN CGROUP BINARIES
set -euo pipefail
root=$1 run=$2 cgroup=$3 binaries=$4

mount -t proc proc /proc
# A version 2 hierarchy, whatever this machine's is.
umount -l -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$cgroup/supervisor"
echo 0 >"/sys/fs/cgroup/$cgroup/supervisor/cgroup.procs"

mkdir "$run/upper" "$run/work" "$run/root"
mount -t overlay -o "lowerdir=$root,upperdir=$run/upper,workdir=$run/work" overlay "$run/root"
"$(dirname "$0")/../rootfs.sh" "$run/root" "$binaries"

export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet --register=no --keep-unit --directory="$run/root" --boot \
	--private-network --console=read-only --notify-ready=yes
