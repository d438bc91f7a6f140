#!/bin/bash
# The calls of the Batch endpoint's guide, as they stand there but for host and key:
#
#   BATCHWAY_URL=http://127.0.0.1:8080 BATCHWAY_API_KEY=… BATCHWAY_LIST_ID=… examples/curl.sh
#
# BATCHWAY_WEBHOOK_URL, if set, is registered as batch webhook as well.
# The guide's backticks are kept: bash runs `anystring` as a command, finds none, says so, and the
# user name is empty. The server does not look at the user name, so the calls work all the same.
set -euo pipefail

server="${BATCHWAY_URL:-http://127.0.0.1:8080}"
apikey="${BATCHWAY_API_KEY:?Set BATCHWAY_API_KEY to your API key.}"
listid="${BATCHWAY_LIST_ID:?Set BATCHWAY_LIST_ID to the id of a list: batchway lists list}"

# jq makes the answers nice to read; without it they are shown as they come.
command -v jq >/dev/null || jq() { cat; echo; }

declare -A subscriber1=(
	[email]="user1@example.com"
	[id]=1
	[status]="subscribed"
)

declare -A subscriber2=(
	[email]="user2@example.com"
	[id]=2
	[status]="subscribed"
)

make_batch() {
curl -sS --request POST \
  "${server}/3.0/batches" \
  --user "`anystring`:${apikey}" \
  --data @- \
<<EOF | jq 'del(._links)'
{
	"operations":[
    	{
        	"method": "POST",
        	"path": "/lists/${listid}/members",
        	"operation_id": "${subscriber1[id]}",
        	"body": "{\"email_address\":\"${subscriber1[email]}\",\"status\":\"${subscriber1[status]}\"}"
    	},
    	{
        	"method": "POST",
        	"path": "/lists/${listid}/members",
        	"operation_id": "${subscriber2[id]}",
        	"body": "{\"email_address\":\"${subscriber2[email]}\",\"status\":\"${subscriber2[status]}\"}"
    	}
	]
}
EOF
}

check_status() {
curl -sS \
  "${server}/3.0/batches/${batchid}" \
  --user "`anystring`:${apikey}" | jq '.status'
}

make_webhook() {
curl -sS --request POST \
  "${server}/3.0/batch-webhooks" \
  --user "foo:${apikey}" \
  --data @- \
<<EOF | jq
{
	"url": "${url}"
}
EOF
}

answer="$(make_batch)"
echo "${answer}"

batchid="$(sed -n 's/.*"id": *"\([0-9a-f]*\)".*/\1/p' <<<"${answer}" | head -n 1)"
[ -n "${batchid}" ] || exit 1
check_status

url="${BATCHWAY_WEBHOOK_URL:-}"
[ -z "${url}" ] || make_webhook
