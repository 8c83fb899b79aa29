#!/usr/bin/env bash
# A host that is not Python: drives the agent through its Unix socket. Needs bash, curl and jq.
#
#   host.sh status                  what is in use, what is under way
#   host.sh check                   look for a new version; prints the digests of offers
#   host.sh show DIGEST             show an offer, and tell the agent in which words
#   host.sh decide DIGEST ANSWER    accept, tonight (22:00, while charging), later, skip or decline
#   host.sh follow                  print events until nothing is under way; the end decides the exit status
#   host.sh answers                 what was answered, and what can still be taken back
#   host.sh revoke ID               take an answer back
#   host.sh rollback                go back to the version before
#   host.sh chat PROMPT             ask the model in use, through the gateway
#
# Environment: MODELOTA_ROOT (the device root) or MODELOTA_SOCKET (its agent.sock); HOST_LANGUAGE: en or zh-CN.
# Exit status: 0 done, 1 the agent refused or the update failed, 2 wrong arguments, curl's own when nothing answers.
set -euo pipefail

language=${HOST_LANGUAGE:-en}
socket=${MODELOTA_SOCKET:-${MODELOTA_ROOT:-/var/lib/modelota}/run/agent.sock}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# request METHOD PATH [BODY] [SOCKET]: prints the answer's JSON; an error goes to standard error, as code and facts.
# A product would look the code up in its own language (docs/errors.md); `now` says how the device is.
request() {
  local status
  status=$(curl --silent --show-error --unix-socket "${4:-$socket}" --request "$1" \
    --header 'content-type: application/json' ${3:+--data-binary "$3"} \
    --output "$scratch/answer" --write-out '%{http_code}' "http://agent$2")
  if [[ $status != 2* ]]; then
    jq -r '"\(.code) \(.params) (now: \(.now // "unknown"))"' "$scratch/answer" >&2
    return 1
  fi
  cat "$scratch/answer"
}

status() {
  request GET /v1/status | jq -r '.models[] |
    "\(.model): \(.active_version // "-") \(.phase)" +
    (if .target_version then " -> \(.target_version)" else "" end) +
    (if .paused then " (paused: \(.waits_for | join(", ")))" else "" end)'
}

check() {
  request POST /v1/check '{}' | jq -r '.[] |
    if .offer then "\(.model) \(.offer.offer.to_version) \(.offer.digest)"
    elif .up_to_date then "\(.model) up-to-date"
    else "\(.model) \([.refused[].code] | join(" "))" end'
}

# Everything the user has to know before deciding is in the offer. What a host shows is up to the host; the agent keeps
# the text, and takes no answer to an offer that was never shown.
show() {
  local text
  text=$(request GET "/v1/offers/$1" | jq -r --arg language "$language" '
    def mb: "\(. / 100000 | ceil / 10) MB";
    def list: if length == 0 then "-" else join(", ") end;
    .offer as $o | (.title[$language] // $o.model) as $name |
    if $language == "zh-CN" then
      "\($name) \($o.from_version // "") → \($o.to_version)（\($o.to_variant)）",
      "更新内容：\($o.notes[$language])",
      "下载：\($o.planned_bytes | mb)，最多 \($o.ceiling_bytes | mb)",
      "空间：更新期间最多 \($o.peak_space_bytes | mb)，完成后 \($o.installed_bytes | mb)",
      "新增权限：\($o.new_permissions | list)",
      "保留：\($o.covers.keep_versions | list)；删除：\($o.covers.remove_versions | list)",
      "如果失败：设备自动保持原样，无需操作。",
      "告知编号：\(.digest)"
    else
      "\($name) \($o.from_version // "") → \($o.to_version) (\($o.to_variant))",
      "What changes: \($o.notes[$language])",
      "Download: \($o.planned_bytes | mb), \($o.ceiling_bytes | mb) at most",
      "Space: \($o.peak_space_bytes | mb) at most meanwhile, \($o.installed_bytes | mb) afterwards",
      "New permissions: \($o.new_permissions | list)",
      "Keeps: \($o.covers.keep_versions | list); removes: \($o.covers.remove_versions | list)",
      "If it fails: the device stays as it is; nothing to do.",
      "Offer: \(.digest)"
    end')
  # what comes from outside must not steer the terminal
  printf '%s\n' "$text" | tr -d '\000-\010\013-\037\177'
  request POST /v1/shown "$(jq -n --arg digest "$1" --arg language "$language" --arg text "$text" \
    '{offer_digest: $digest, language: $language, text: $text, channel: "host"}')" >"$scratch/shown"
}

decide() {
  local answer=$2 wishes='{}'
  if [[ $2 == tonight ]]; then
    answer=accept
    wishes=$(jq -n --arg now "$(date --utc +%FT%TZ)" \
      --arg at "$(date --utc --date "@$(date --date 'today 22:00' +%s)" +%FT%TZ)" \
      '{conditions: ["charging"]} + if $at > $now then {not_before: $at} else {} end')
  fi
  request POST /v1/decisions "$(jq -n --arg digest "$1" --arg answer "$answer" --argjson wishes "$wishes" \
    '{offer_digest: $digest, answer: $answer, channel: "host"} + $wishes')" |
    jq -r '"\(.model): \(.phase)"'
}

answers() {
  request GET /v1/decisions | jq -r '.decisions[] | "\(.id) \(.at) \(.answer) \(.to_version // "") \(.state)" +
    (if .revocable then " (can be taken back)" else "" end)'
}

revoke() {
  request DELETE "/v1/decisions/$1" | jq -r '"\(.id) \(.answer) \(.state)"'
}

rollback() {
  request POST /v1/rollback '{"channel": "host"}' |
    jq -r 'if .started then "started" else "offer \(.offer.digest)" end'
}

# Events make it prompt, the status decides: a stream that breaks, or an event that came too early, loses nothing.
follow() {
  local last='' line
  until over; do
    while IFS= read -r line; do
      case $line in
        id:*) last=${line#id: } ;;
        data:*)
          jq -r '.data as $d |
            if .kind == "progress" then "\($d.step) \($d.done)/\($d.total // "?")"
            elif .kind == "phase" then "\($d.phase)"
            else empty end' <<<"${line#data: }"
          if [[ $(jq -r .kind <<<"${line#data: }") == outcome ]]; then break; fi
          ;;
      esac
    done < <(curl --silent --no-buffer --max-time 2 --unix-socket "$socket" \
      ${last:+--header "last-event-id: $last"} http://agent/v1/events || true)
  done
  if jq -e 'any(.models[]; .paused)' "$scratch/status" >"$scratch/paused"; then
    status
    return 1
  fi
  jq -r '.models[] | select(.last_outcome) | .last_outcome |
    "\(.operation) \(.to_version): \(.result), \(.active_version // "-") is in use" +
    (if .error then " [\(.error.code)]" else "" end)' "$scratch/status"
  jq -e 'all(.models[]; .last_outcome == null or .last_outcome.result == "done")' "$scratch/status" >"$scratch/done"
}

# Whether nothing is under way any more, or it is paused and waits for somebody.
over() {
  request GET /v1/status >"$scratch/status"
  jq -e 'all(.models[]; .paused or .target_version == null or .phase == "watching")' "$scratch/status" >"$scratch/over"
}

chat() {
  local place
  place=$(request POST /v1/chat '{}')
  request POST /v1/chat/completions "$(jq -n --argjson place "$place" --arg prompt "$1" \
    '{model: $place.model, messages: [{role: "user", content: $prompt}], temperature: 0, max_tokens: 64}')" \
    "$(jq -r .gateway_socket <<<"$place")" | jq -r '.choices[0].message.content'
}

case "${1:-} $#" in
  'status 1' | 'check 1' | 'show 2' | 'decide 3' | 'follow 1' | 'answers 1' | 'revoke 2' | 'rollback 1' | 'chat 2') "$@" ;;
  *)
    sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
