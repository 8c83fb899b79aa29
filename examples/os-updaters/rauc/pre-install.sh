#!/bin/sh
# RAUC's pre-install handler (system.conf: [handlers] pre-install=). A failure would abort the installation, and the
# operating system must not depend on modelota: whatever happens here, it goes on.
inhibit=${MODELOTA_INHIBIT:-/usr/lib/modelota/inhibit.sh}

# RAUC calls no handler when the installation fails. The time limit releases it then.
"$inhibit" take rauc 'system update' 3600 || exit 0

# A switch of the model under way is let finish, within reason; cut off by the reboot, it would go on after it.
seconds=0
while [ "$seconds" -lt 120 ] && "$inhibit" busy; do
  sleep 2
  seconds=$((seconds + 2))
done
exit 0
