# shellcheck shell=bash
# The library for the guest: `. /lab/lib/lab.sh` at the top of a bash script.
#
#   check.sh       ok, fail, check, wait_for, now_ms: results and time
#   array.sh       what all LIO arrays share: LUs, port groups, functions
#   lio_loop.sh    LIO over tcm_loop: one SCSI host per port
set -u
LAB_LIB=${BASH_SOURCE[0]%/*}
# shellcheck source=/dev/null
for lab_part in check array lio_loop lio_iscsi lio_fc scsi_debug probe io map agent peer cost rival clean; do
    [ ! -e "$LAB_LIB/$lab_part.sh" ] || . "$LAB_LIB/$lab_part.sh"
done
unset lab_part
