"""Every bound, with its unit, its value and the reason. Relations are asserted where they stand."""

# One request
request_body_bytes_max = 256 * 1024 * 1024  # 100,000 operations are about 29 MB
operations_per_batch_max = 1_000_000
operation_path_characters_max = 2_048  # as long as a URL may safely be
operation_id_characters_max = 1_000
path_segments_max = 12  # the deepest path of the contract has 8; more is answered 414

# Pages
page_count_default = 10  # contract: `count`
page_count_max = 1_000  # larger counts are answered with this many, as Mailchimp does

# Batches
pending_batches_per_account_max = 500  # the guide's limit; more is answered 429
running_batches_per_account_max = 10  # further batches wait as `pending`
result_days = 7  # from `submitted_at`
result_link_seconds = 600  # a link is good for ten minutes

# Pieces, chunks, segments
piece_operations_max = 1_000  # operations stored as one compressed piece of input
piece_bytes_max = 4 * 1024 * 1024
chunk_operations_max = 5_000  # holds the database's lock for about 50 ms on SQLite
chunk_bytes_max = 16 * 1024 * 1024
small_batch_operations_max = 500  # at most this many run in one hop instead of three
chunk_attempts_max = 5  # then it is cut in half; a single operation gets a 500 result
assert piece_operations_max <= chunk_operations_max
assert small_batch_operations_max <= piece_operations_max

# The engine
queue_poll_seconds = 0.05  # the latency of a hop
dequeued_per_worker_max = 2  # one runs, the next is ready: no poll between chunks
lease_seconds = 10.0  # a process silent for longer is taken for dead
lease_renewal_seconds = 2.0
sweep_seconds = 2.0  # between two rounds of the caretaker
hand_over_retry_seconds = 2.0  # before a step that raised is tried again; doubles each time
hand_over_retry_seconds_max = 60.0
overdue_seconds = 5.0  # a batch untouched for longer is compared with the engine's books
swept_workflows_max = 1_000  # finished hand-overs deleted in one round
shutdown_grace_seconds = 20.0  # after SIGTERM; what is unfinished is left to the take-over
assert lease_renewal_seconds * 3 < lease_seconds

# Processes
restart_wait_seconds_first = 0.1  # before a dead child is started again; doubles up to the maximum
restart_wait_seconds_max = 10.0
workers_max = 64

# The database
busy_timeout_seconds = 30.0  # how long a writer waits for SQLite's lock
idle_transaction_seconds = 60.0  # PostgreSQL ends a session that sits on its locks for longer
id_block_size = 10_000  # ids reserved at a time, so that a chunk asks at most once

# The audience
lists_per_account_max = 10_000
field_text_characters_max = 1_000  # of each text in a list or a merge field
members_per_subscribe_call_max = 500  # contract: POST /lists/{id}
merge_fields_per_list_max = 80
merge_text_characters_max = 255
merge_choices_max = 500  # of a radio or dropdown field
merge_display_order_max = 1_000_000
tags_shown_per_member_max = 50  # contract: `tags` shows 50, `tags_count` counts all
tag_name_characters_max = 100
email_address_characters_max = 254
