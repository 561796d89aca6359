# PID 1 of an emulated machine. xtask puts JOB=… before this text. There is no
# file system of the host: what the command needs is in the initramfs, and what
# it says goes out by serial lines: ttyS1 is its stdout, ttyS2 its stderr, and
# ttyS3 says `started`, `status N` or `fault WHY`.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for line in 1 2 3; do
    stty -F "/dev/ttyS$line" raw -echo
done

fail() {
    echo "fault $1" >/dev/ttyS3
    exec sleep 60
}

ln -sfn /proc/self/fd /dev/fd
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts || fail "cannot mount /dev/pts"
mount -t tmpfs -o mode=1777 tmpfs /dev/shm || fail "cannot mount /dev/shm"
mount -t tmpfs -o mode=755 tmpfs /run || fail "cannot mount /run"
mkdir -p /run/netns /run/lock
modprobe ip_vs || fail "cannot load ip_vs"
ip link set lo up || fail "cannot raise lo"
hostname trunnion-vm

echo started >/dev/ttyS3
sh "$JOB/command.sh" </dev/null >/dev/ttyS1 2>/dev/ttyS2
echo "status $?" >/dev/ttyS3
# The host ends the VM now. This is for the case that it is no more.
sleep 10
poweroff -f
