#!/usr/bin/env bash
# A remote worker: claims tasks of one program, runs them, settles them. Needs curl and python3.
# Usage: PENSTOCK_URL=http://localhost:8000 [PENSTOCK_TOKEN=...] examples/worker.sh PROGRAM [QUEUE]
# Each task runs: handle TASK-NUMBER PARAMETERS-AS-JSON; what that prints is the result. Ends when there is no work.
set -euo pipefail
program=$1 queue=${2:-default} api=${PENSTOCK_URL%/}/api/v1/workers

handle() { printf 'task %s was given %s' "$1" "$2"; } # replace this by the work

say() { # say METHOD PATH BODY: the answer, or curl's error
  curl -sS --fail-with-body --retry 20 --retry-connrefused -X "$1" "$api$2" -H 'Content-Type: application/json' \
    ${PENSTOCK_TOKEN:+-H "Authorization: Bearer $PENSTOCK_TOKEN"} -d "$3"
}
json() { python3 -c "import json, sys; d = json.load(sys.stdin); print($1)"; } # json EXPRESSION-OF-d

enlist=$(printf '%s\n%s' "$program" "$queue" |
  python3 -c 'import json, sys; p, q = sys.stdin.read().split("\n"); print(json.dumps({"programs": [p], "queues": [q], "host": "bash"}))')
worker=$(say POST "" "$enlist" | json 'd["worker_id"]')
(while sleep 4; do say POST "/$worker/beat" '{}' > /dev/null; done) & # a sign of life, whatever the work does
beats=$!
trap 'kill $beats; say DELETE "/$worker" "" > /dev/null' EXIT

# a retry has the same `request`, and is answered with the same task
while work=$(say POST "/$worker/claim" "{\"max\": 1, \"wait_s\": 2, \"request\": \"$SECONDS-$RANDOM-$RANDOM\"}") && [ "$(json 'len(d["tasks"])' <<< "$work")" = 1 ]; do
  task=$(json 'json.dumps(d["tasks"][0])' <<< "$work")
  if result=$(handle "$(json 'd["claim"]["exec_seq"]' <<< "$task")" "$(json 'json.dumps(d["parameters"])' <<< "$task")"); then
    answer='{"outcome": "finish", "result": r}'
  else answer='{"outcome": "fail", "error": "the handler failed"}'; fi
  say POST "/$worker/settle" "$(RESULT=$result json "json.dumps([{'claim': d['claim'], **(lambda r: $answer)(__import__('os').environ['RESULT'])}])" <<< "$task")" > /dev/null
done
