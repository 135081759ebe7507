#!/bin/bash
# As 34-poweroff.sh, and the agent was stopped before the paths went: nobody is left to end the queueing but the shutdown.
# Guest: systemd poweroff
. /lab/scenario/34-poweroff.sh stopped
