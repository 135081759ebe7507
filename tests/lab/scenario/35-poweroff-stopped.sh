#!/bin/bash
# As 34-poweroff.sh, but the agent was stopped before the paths failed: only the shutdown can end the queueing.
# Guest: systemd poweroff
. /lab/scenario/34-poweroff.sh stopped
