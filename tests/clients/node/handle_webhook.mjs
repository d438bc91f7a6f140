// The guide's consumer of webhooks, as it stands there, on the body that comes on standard input.

import { readFileSync } from "node:fs";

async function handleWebhook(req) {
  const decodedText = decodeURIComponent(req.body);
  const params = new URLSearchParams(decodedText);
  const responseBodyUrl = params.get("data[response_body_url]");
  console.log(`You can fetch the gzipped response with ${responseBodyUrl}.`);
}

await handleWebhook({ body: readFileSync(0, "utf8") });
