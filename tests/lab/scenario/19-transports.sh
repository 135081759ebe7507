#!/bin/bash
# All ways to send SCSI commands meet one contract: sg on every kernel, bsg by io_uring from Linux 7.1 on.
# Programs: transports
. /lab/lib/lab.sh

# Fewer tags than the agent has outstanding commands: some commands have to wait for a tag.
scsi_debug_bare add_host=2 max_luns=500 max_queue=32

if [ ! -d /sys/kernel/debug/scsi_debug ]; then
    note "this kernel's scsi_debug cannot inject errors (Linux 6.7 and later can)"
    check "sg is used if bsg takes no commands" test "$(transports bsg which 2>&1)" != ""
    exit
fi

# conform TRANSPORT: each line of the program's output is a result.
conform() {
    local line
    while read -r line; do
        case $line in
            'ok '*) ok "$1: ${line#ok }" ;;
            'not ok '*) fail "$1: ${line#not ok }" ;;
            *) note "$1: $line" ;;
        esac
    done < <(transports "$1" 2>&1)
}

which=$(transports bsg which)
note "$which"
case $which in
    bsg:*) conform bsg ;;
    *) check_eq "the reason is printed" "sg: the kernel does not accept SCSI commands by io_uring; Linux 7.1 and later do" "$which" ;;
esac
conform sg
