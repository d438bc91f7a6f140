// Start, ask for the status until it is finished, download, list, delete. URL KEY LIST_ID

import { gunzipSync } from "node:zlib";

import mailchimp, { finished, given, print, refusal } from "./client.mjs";

const [listId] = given;
const path = `/lists/${listId}/members`;
const operations = ["subscribed", "pending", "wrong"].map((status, number) => ({
  method: "POST",
  path,
  operation_id: `crm-${number}`,
  body: JSON.stringify({ email_address: `m${number}@example.com`, status }),
}));

const started = await mailchimp.batches.start({ operations });
const batch = await finished(started.id);
const archive = await fetch(batch.response_body_url);
const tar = gunzipSync(Buffer.from(await archive.arrayBuffer()));
const listed = await mailchimp.batches.list({ count: 1000, fields: ["batches.id"] });
const part = await mailchimp.batches.status(started.id, { fields: ["id"] });
const deleted = await mailchimp.batches.deleteRequest(started.id);
const gone = await refusal(mailchimp.batches.status(started.id));
const archiveGone = await fetch(batch.response_body_url);

print({
  started,
  batch,
  operationIds: tar.toString("latin1").match(/crm-\d/g),
  listed,
  part,
  deleted,
  gone,
  archiveGone: archiveGone.status,
});
