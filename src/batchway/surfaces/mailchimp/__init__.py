"""The surface `/3.0` of the Mailchimp API: batches, batch webhooks, and the calls of targets."""
