// Create, get, list, update, remove; and what is refused. URL KEY RECEIVER DEAF_RECEIVER

import mailchimp, { given, print, refusal } from "./client.mjs";

const [receiver, deaf] = given;

const created = await mailchimp.batchWebhooks.create({ url: receiver });
const got = await mailchimp.batchWebhooks.get(created.id);
const part = await mailchimp.batchWebhooks.get(created.id, { fields: ["url"] });
const listed = await mailchimp.batchWebhooks.list({ count: 5, offset: 0 });
const disabled = await mailchimp.batchWebhooks.update(created.id, { enabled: false });
const moved = await mailchimp.batchWebhooks.update(created.id, { url: `${receiver}/other` });
const refusedDeaf = await refusal(mailchimp.batchWebhooks.create({ url: deaf }));
const refusedEmpty = await refusal(mailchimp.batchWebhooks.create({}));
const removed = await mailchimp.batchWebhooks.remove(created.id);
const gone = await refusal(mailchimp.batchWebhooks.get(created.id));
const listedAfter = await mailchimp.batchWebhooks.list();

print({
  created,
  got,
  part,
  listed,
  disabled,
  moved,
  refusedDeaf,
  refusedEmpty,
  removed,
  gone,
  listedAfter,
});
