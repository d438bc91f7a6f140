// The client's own errors, with the server's problem document. URL KEY LIST_ID

import mailchimp, { given, print, refusal } from "./client.mjs";

const [listId] = given;
const member = { email_address: "ann@example.com", status: "subscribed" };

await mailchimp.lists.addListMember(listId, member);

print({
  exists: await refusal(mailchimp.lists.addListMember(listId, member)),
  lost: await refusal(mailchimp.lists.getList("0123456789")),
  badBatch: await refusal(mailchimp.batches.start({ operations: [[]] })),
  badList: await refusal(mailchimp.lists.createList({})),
});
