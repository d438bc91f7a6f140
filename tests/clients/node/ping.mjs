// With a key as password, as a token, and with a wrong key. URL KEY

import mailchimp, { print, refusal } from "./client.mjs";

const { apiKey } = mailchimp.config;
const withKey = await mailchimp.ping.get();
const root = await mailchimp.root.getRoot({ fields: ["account_name"] });
mailchimp.setConfig({ accessToken: apiKey, server: "us1" });
const withToken = await mailchimp.ping.get();
mailchimp.setConfig({ apiKey: `${"f".repeat(32)}-us1`, server: "us1" });
const wrong = await refusal(mailchimp.ping.get());

print({ withKey, withToken, root, wrong });
