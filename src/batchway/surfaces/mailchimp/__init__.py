"""Mailchimp's `/3.0`: batches, batch webhooks, and the calls of the targets behind it."""
