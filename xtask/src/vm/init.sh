# PID 1 of the VM. xtask puts JOB=…, INTERACTIVE=… and `set -- SHARE…` before
# this text; the first share is JOB. Nothing here is printed: the command's
# output goes to files in JOB, which the host follows.

fail() {
    echo "$1" >"$JOB/fault"
    sync
    exec sleep 60
}

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc || fail "cannot mount /proc"
mount -t sysfs sysfs /sys || fail "cannot mount /sys"
grep -q ' /dev devtmpfs ' /proc/mounts || mount -t devtmpfs dev /dev || fail "cannot mount /dev"
ln -sfn /proc/self/fd /dev/fd
ln -sfn /proc/self/fd/0 /dev/stdin
ln -sfn /proc/self/fd/1 /dev/stdout
ln -sfn /proc/self/fd/2 /dev/stderr
mkdir -p /dev/pts /dev/shm /dev/mqueue /dev/net /dev/.share
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
mount -t devpts -o ptmxmode=666 devpts /dev/pts || fail "cannot mount /dev/pts"
ln -sfn pts/ptmx /dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs /dev/shm || fail "cannot mount /dev/shm"

# What the host has under /tmp and /run is hidden, except the shares: each is
# held under /dev while the tmpfs goes over it, then put back in its place.
i=0
for share; do
    mkdir "/dev/.share/$i" && mount --bind "$share" "/dev/.share/$i" || fail "cannot share $share"
    i=$((i + 1))
done
JOB=/dev/.share/0
mount -t tmpfs -o mode=755 tmpfs /run || fail "cannot mount /run"
mount -t tmpfs -o mode=1777 tmpfs /tmp || fail "cannot mount /tmp"
i=0
for share; do
    mkdir -p "$share" && mount --bind "/dev/.share/$i" "$share" || fail "cannot share $share at its place"
    i=$((i + 1))
done
mkdir -p /run/netns /run/lock

# The kernel's modules are not where modprobe looks, and /lib/modules may not
# exist: a tree of our own, for the kernel's own calls (a scheduler named in a
# request is loaded by the kernel) and for those of any program.
version=$(uname -r)
mkdir -p /run/modules/lib/modules /run/modules/usr/lib
ln -s "/usr/lib/uml/modules/$version" "/run/modules/lib/modules/$version"
ln -s ../../lib/modules /run/modules/usr/lib/modules
printf '#!/bin/sh\nexec %s -d /run/modules "$@"\n' "$(command -v modprobe)" >/run/modules/modprobe
chmod +x /run/modules/modprobe
echo /run/modules/modprobe >/proc/sys/kernel/modprobe
export MODPROBE_OPTIONS="-d /run/modules"
modprobe ip_vs 2>/run/modules/why || fail "cannot load ip_vs: $(cat /run/modules/why)"

ip link set lo up || fail "cannot raise lo"
hostname trunnion-vm 2>/dev/null
sysctl -qw net.ipv4.ping_group_range="0 2147483647" 2>/dev/null

: >"$JOB/started"
if [ "$INTERACTIVE" = 1 ]; then
    echo 1 >/proc/sys/kernel/printk
    setsid -c -w sh "$JOB/command.sh" </dev/tty0 >/dev/tty0 2>&1
else
    sh "$JOB/command.sh" </dev/null >>"$JOB/stdout" 2>>"$JOB/stderr"
fi
status=$?
sync
echo "$status" >"$JOB/status.new"
mv "$JOB/status.new" "$JOB/status"
# The host ends the VM now. This is for the case that it is no more.
sleep 10
echo o >/proc/sysrq-trigger
exec sleep 60
