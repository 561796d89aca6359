# The same service on the host's own kernel, which has ip_vs: fresh network,
# mount and PID namespaces. xtask puts JOB=… before this text.

fail() {
    echo "$1" >"$JOB/fault"
    exec sleep 60
}

mount -t sysfs sysfs /sys || fail "cannot mount /sys"
mount -t tmpfs -o mode=755 tmpfs /run || fail "cannot mount /run"
mkdir -p /run/netns /run/lock
ip link set lo up || fail "cannot raise lo"

: >"$JOB/started"
if [ "$INTERACTIVE" = 1 ]; then
    sh "$JOB/command.sh"
else
    sh "$JOB/command.sh" </dev/null >>"$JOB/stdout" 2>>"$JOB/stderr"
fi
status=$?
echo "$status" >"$JOB/status.new"
mv "$JOB/status.new" "$JOB/status"
