// Add, get, archive a member; a list made and deleted. URL KEY LIST_ID

import mailchimp, { given, print } from "./client.mjs";

const [listId] = given;

const made = await mailchimp.lists.addListMember(listId, {
  email_address: "Ann@example.com",
  status: "subscribed",
  tags: ["a"],
});
const got = await mailchimp.lists.getListMember(listId, made.id);
const page = await mailchimp.lists.getListMembersInfo(listId, { count: 5, fields: ["total_items"] });
const changed = await mailchimp.lists.updateListMember(listId, made.id, { vip: true });
const upserted = await mailchimp.lists.setListMember(listId, made.id, {
  email_address: "Ann@example.com",
  status_if_new: "pending",
  language: "uk",
});
const archived = await mailchimp.lists.deleteListMember(listId, made.id);
const after = await mailchimp.lists.getListMember(listId, made.id);

print({ made, got, page, changed, upserted, archived, after });
