#!/usr/bin/env bash
# Boots systemd as process 1 on a copy of this machine's files, in namespaces of its own, and runs the steps of a test in it.
#
#   systemd_root.sh PROGRAM FOLDER
#
# FOLDER has `units` (for /etc/systemd/system), `seawall` (for /etc/seawall) and `steps.sh`, and is /shared there. The steps run as root;
# systemd ends with them. Needs root, and a second version control group hierarchy. Nothing outside the namespaces changes.
set -euo pipefail
program=$1 folder=$2

enter() {
    local hierarchy
    hierarchy=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
    group=$(mktemp -d -p "$hierarchy" seawall-test-XXXXXX)
    trap 'find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true' EXIT
    (
        echo "$BASHPID" >"$group/cgroup.procs"
        exec timeout --signal KILL 180 unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup \
            "$0" "$program" "$folder" boot
    )
}

boot() {
    local root=/mnt/root device
    mount --make-rprivate /
    mount -t tmpfs tmpfs /mnt
    mkdir /mnt/changes /mnt/work $root
    mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/changes,workdir=/mnt/work $root
    mount -t proc proc $root/proc
    # The kernel's settings are those of the machine.
    mount --bind $root/proc/sys $root/proc/sys
    mount -o remount,bind,ro $root/proc/sys
    mount -t sysfs sysfs $root/sys
    mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
    mount -t tmpfs tmpfs $root/run
    mount -t tmpfs tmpfs $root/tmp
    mount -t tmpfs -o mode=755 tmpfs $root/dev
    for device in null zero full random urandom tty; do
        touch $root/dev/$device
        mount --bind /dev/$device $root/dev/$device
    done
    mkdir $root/dev/pts $root/dev/shm
    ln -s /proc/self/fd $root/dev/fd
    ln -s pts/ptmx $root/dev/ptmx

    # No unit of this machine but the journal's.
    rm -rf $root/usr/lib/systemd/system/*.wants $root/etc/systemd/system $root/etc/seawall $root/usr/local/bin/seawall
    cp -r "$folder/units" $root/etc/systemd/system
    cp -r "$folder/seawall" $root/etc/seawall
    mkdir -p $root/shared $root/before $root/usr/local/bin
    mount --bind "$folder" $root/shared
    touch $root/usr/local/bin/seawall
    mount --bind "$program" $root/usr/local/bin/seawall
    cat >$root/etc/systemd/system/test.target <<'UNIT'
[Unit]
DefaultDependencies=no
Wants=systemd-journald.service systemd-journald.socket steps.service
UNIT
    cat >$root/etc/systemd/system/steps.service <<'UNIT'
[Unit]
DefaultDependencies=no
After=systemd-journald.service
[Service]
Type=oneshot
ExecStart=/bin/bash -u /shared/steps.sh
StandardOutput=append:/shared/output
StandardError=inherit
ExecStopPost=/bin/systemctl --force exit
UNIT
    ip link set lo up
    cd $root
    pivot_root . before
    umount -l /before
    # Credentials reach the services by the propagation of mounts.
    mount --make-rshared /
    exec env -i container=lxc PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=test.target --show-status=no
}

case ${3:-} in
    boot) boot ;;
    *) enter ;;
esac
