// The official client with its address changed, as one has to, and what the scripts share.
// Each is called with the server's address, a key, and what else it needs.

import mailchimp from "@mailchimp/mailchimp_marketing";

const [url, key, ...rest] = process.argv.slice(2);

mailchimp.setConfig({ apiKey: key, server: "us1" });
mailchimp.basePath = `${url}/3.0`;

export const given = rest;
export default mailchimp;

// The status and the document with which a call is refused.
export async function refusal(call) {
  try {
    await call;
  } catch (error) {
    return { status: error.status, body: error.response.body };
  }
  throw new Error("The call was not refused.");
}

// The batch, once it is finished; gives up after a minute.
export async function finished(batchId) {
  for (const end = Date.now() + 60_000; Date.now() < end; ) {
    const batch = await mailchimp.batches.status(batchId);
    if (batch.status === "finished") return batch;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`Batch ${batchId} was never finished.`);
}

// The one document that a script prints.
export function print(document) {
  console.log(JSON.stringify(document));
}
