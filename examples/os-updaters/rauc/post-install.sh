#!/bin/sh
# RAUC's post-install handler (system.conf: [handlers] post-install=): the new system is in place. What is left is the
# reboot, and the short time until then belongs to it.
inhibit=${MODELOTA_INHIBIT:-/usr/lib/modelota/inhibit.sh}

"$inhibit" take rauc 'reboot into the new system' 600
exit 0
