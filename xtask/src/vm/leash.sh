# Holds the VM: $1 is the job's directory, $2 what it reads as keys, the rest
# its command line. Our stdin is a pipe from xtask; when xtask ends, however it
# ends, the pipe closes and everything here goes.
job=$1
keys=$2
shift 2
exec 3<&0
"$@" <"$keys" >>"$job/console" 2>&1 3<&- &
vm=$!
{
    cat <&3 >/dev/null
    # User-mode Linux makes a process group of its own.
    [ -e "$job/gone" ] || kill -KILL -"$vm" "$vm"
    rm -rf "$job"
    kill -KILL 0
} &
exec 3<&-
wait "$vm"
echo $? >"$job/gone"
wait
