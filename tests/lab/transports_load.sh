#!/bin/bash
# Compares the cost of checks over each transport on one kernel: transports_load.sh [LUS of each of 4 hosts]
# Programs: transports
. /lab/lib/lab.sh

scsi_debug_bare add_host=4 max_luns="${1:-1000}"
for paths in 400 $((4 * ${1:-1000})); do
    for transport in sg bsg; do
        check "$transport, $paths paths" transports "$transport" load "$paths"
        grep '^#' "$LAB_SAID"
    done
done
