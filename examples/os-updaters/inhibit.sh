#!/bin/sh
# Keeps modelota's updates waiting while the operating system is updated. Needs curl, grep and sed.
#
#   inhibit.sh take HOLDER REASON SECONDS   updates wait; taking again renews it
#   inhibit.sh release HOLDER               updates go on
#   inhibit.sh busy                         whether a model is being switched at this moment
#
# Environment: MODELOTA_SOCKET (the agent's socket).
# Exit status: 0 done, or busy; 1 not busy, or the agent refused; 69 no agent answers, so there is nothing to keep waiting.
set -u

socket=${MODELOTA_SOCKET:-/var/lib/modelota/run/agent.sock}

# request METHOD PATH [BODY]: prints the answer; an error goes to standard error, as its code.
request() {
  answer=$(curl --silent --max-time 20 --unix-socket "$socket" --request "$1" --header 'content-type: application/json' \
    ${3:+--data-binary "$3"} --write-out '\n%{http_code}' "http://agent$2") || exit 69
  case ${answer##*
} in
    2*) printf '%s\n' "$answer" | sed '$d' ;;
    *)
      printf '%s\n' "$answer" | sed -n 's/.*"code":"\([a-z-]*\)".*/modelota refused: \1/p' >&2
      exit 1
      ;;
  esac
}

# hold HOLDER REASON SECONDS: one holder has one inhibitor, so asking again renews it. Prints its id.
hold() {
  body=$(printf '{"holder":"%s","reason":"%s","expires_s":%s}' "$1" "$2" "$3")
  found=$(request POST /v1/inhibitors "$body") || exit $?
  printf '%s' "$found" | sed -n 's/.*"id":"\([0-9a-f]*\)".*/\1/p'
}

case ${1:-} in
  take)
    id=$(hold "$2" "$3" "$4") || exit $?
    [ -n "$id" ]
    ;;
  release)
    # No file has to remember the id over the reboot: whoever holds is told it again.
    id=$(hold "$2" 'about to be released' 60) || exit $?
    [ -n "$id" ] && request DELETE "/v1/inhibitors/$id" >/dev/null
    ;;
  busy)
    status=$(request GET /v1/status) || exit $?
    printf '%s' "$status" | grep -Eq '"phase":"(activating|rolling-back|removing)"'
    ;;
  *)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 64
    ;;
esac
