"""Every limit, with its unit and its value.

A limit that an operator can set, or that may differ between two apps, is a field of `Limits`, which
`app.py` creates from the settings, so that two apps in one process share nothing. All other limits
are constants of this module. `settable_limits.py` names the fields that an operator can set.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of one app. Relations between them are checked when it is made."""

    # One connection
    connections_max: int = 1_000  # of one API process; fewer if it may open fewer files
    connections_per_address_max: int = 500  # a proxy is one address; then the oldest idle one ends
    head_seconds_max: float = 15  # from the first byte to the last header; then 408
    body_seconds_max: float = 30  # in which at least `body_window_bytes_min` of a body come
    reader_seconds_max: float = 30  # in which a client reads some of its answer, or is cut off

    # One request
    requests_per_key_max: int = 10  # at once; the guide's limit; more is 429; batches are exempt
    request_seconds_max: float = 120  # the guide's limit for a single call, never an operation
    batch_request_seconds_max: float = 600  # to send and check a batch: its body may come slowly
    request_body_bytes_max: int = 512 * 1024 * 1024  # of a batch, inflated: 1,000,000 operations
    call_body_bytes_max: int = 16 * 1024 * 1024  # of any other call, inflated
    check_seconds_max: float = 60  # of `validate_only`; the response says how many were checked
    operations_per_batch_max: int = 1_000_000

    # Batches
    pending_batches_per_account_max: int = 500  # the guide's limit; more is answered 429
    running_batches_per_account_max: int = 10  # further batches wait as `pending`
    result_days: int = 7  # from `submitted_at`
    idempotency_key_seconds: int = 24 * 60 * 60  # the same key and body give the same batch
    result_link_seconds: int = 600  # a link is good for ten minutes
    downloads_per_key_max: int = 10  # at once, by links to results; more is answered 429
    event_streams_per_key_max: int = 10  # that follow batches; more is answered 429
    event_poll_seconds: float = 0.25  # between two reads of a batch that a client follows
    event_silence_seconds_max: float = 15  # then a comment keeps the connection open
    event_stream_seconds_max: float = 3_600  # then the client must connect again
    error_groups_max: int = 1_000  # of a batch; all other errors are one more group

    # Pieces, chunks, segments
    piece_operations_max: int = 1_000  # operations stored as one compressed piece of input
    chunk_operations_max: int = 5_000  # holds the database's lock for about 50 ms on SQLite
    sending_chunk_operations_max: int = 1_000  # for a target that sends operations elsewhere
    small_batch_operations_max: int = 500  # at most this many are run by one chain
    step_seconds_max: float = 2.0  # then the rest of a chunk waits for steps of others
    chunk_attempts_max: int = 5  # then it is cut in half; a single operation gets a 500 result
    free_bytes_min: int = 256 * 1024 * 1024  # on the archive's disk; with less, new batches get 503

    # Batch webhooks
    batch_webhooks_per_account_max: int = 20  # the guide's limit; more is answered 400
    undelivered_events_per_account_max: int = 500  # the guide's limit: then POST /batches is 429
    delivery_seconds_max: float = 10.0  # an attempt, from DNS to the end of the answer
    delivery_waits_seconds: tuple[float, ...] = (5, 60, 300, 1_800, 7_200, 18_000, 28_800, 36_000)
    webhook_failing_days_max: int = 5  # a webhook that has only failed for so long is disabled

    def __post_init__(self) -> None:
        """Raise ValueError for limits that do not fit together."""
        _require(self, "piece_operations_max", "chunk_operations_max")
        _require(self, "piece_operations_max", "sending_chunk_operations_max")
        _require(self, "small_batch_operations_max", "piece_operations_max")


def _require(limits: Limits, smaller: str, larger: str) -> None:
    if getattr(limits, smaller) > getattr(limits, larger):
        raise ValueError(f"{smaller} must not be larger than {larger}")


# One connection
request_line_bytes_max = 32 * 1024  # of the path and the query; more is answered 414
header_bytes_max = 32 * 1024  # of all headers of a request; more is answered 431
request_headers_max = 100  # of one request; more is answered 431
parsed_bytes_max = 4 * 1024  # at once, so that reading can stop between two requests
body_window_bytes_min = 1024  # in each window of `body_seconds_max`; less is answered 408
reserved_files = 100  # that the API may open besides connections: database, archives, log
refusal_seconds = 2.0  # that a refused connection stays open, for the client to read why

# One request
operation_bytes_max = 10 * 1024 * 1024  # of one operation, as it is sent
known_key_seconds = 1.0  # for which a key that was found is not looked up again
known_keys_max = 1_000  # of one API process
batch_window_bytes = 512 * 1024  # of a body that are decoded at once; larger is slower
unstreamed_body_bytes_max = 8 * 1024 * 1024  # where `operations` is not the first key
assert unstreamed_body_bytes_max <= operation_bytes_max  # so that no operation in it is too large
bodies_at_once_max = 4  # of batches, read at the same time; each needs some memory
operations_tried_at_once_max = 50  # by `validate_only`, in one transaction, without effect
inflated_piece_bytes_max = 1024 * 1024  # of a body, inflated at a time
gzip_members_max = 65_536  # bgzip makes one for each 64 kB; each costs some microseconds
body_read_bytes = 1024 * 1024  # of the body of a batch, read at a time
incoming_memory_bytes_max = 16 * 1024 * 1024  # of a batch, compressed; more is on disk
idempotency_key_characters_max = 255
operation_path_characters_max = 2_048  # as long as a URL may safely be
operation_params_bytes_max = 64 * 1024  # of `params`, as they are sent; a URL is rarely longer
operation_id_characters_max = 1_000
operation_headers_bytes_max = 16 * 1024  # of `headers`, as they are sent
operation_headers_max = 50  # of one operation; HTTP servers commonly accept 100
body_tokens_max = 300_000  # brackets, commas and texts of a JSON body: decoded, at most 50 MB
path_segments_max = 12  # the deepest path of the contract has 8; more is answered 414

# Downloads
download_seconds_max = 3_600  # of one result archive; a reader may be slow, but not for ever

# Pages
page_count_default = 10  # contract: `count`
page_count_max = 1_000  # larger counts are answered with this many, as Mailchimp does
page_bytes_max = 32 * 1024 * 1024  # of members' merge fields; only older data can have more

# Batches
error_samples_max = 5  # operations named in a group

# Pieces, chunks, segments
piece_bytes_max = 4 * 1024 * 1024
chunk_bytes_max = 16 * 1024 * 1024
named_text_bytes = 128  # of memory that a parameter or a header needs besides its characters
answer_bytes_max = 8 * 1024 * 1024  # of pages answered at once; becomes one segment
results_file_bytes_max = 4 * 1024**3  # of one file of "per-batch"; more results are in another file

# The engine
idle_poll_seconds = 1.0  # between two polls of a queue if nothing was noticed
poll_gap_seconds = 0.02  # at least between two polls of a queue
commit_poll_seconds = 0.02  # between two looks at SQLite's count of commits
notice_wait_seconds = 0.2  # of PostgreSQL's notices at once; how late a worker sees that it stops
queue_poll_seconds = 0.1  # between two polls for chunks while chunks are executed
dequeued_per_worker_max = 2  # one runs, the next is ready: no poll between chunks
small_batch_poll_seconds = 0.05  # between two polls for small batches while small batches run
small_batches_per_worker_max = 16  # dequeued at once, run one after the other
delivery_poll_seconds = 0.1  # between two polls for deliveries while deliveries are made
sending_poll_seconds = 0.1  # between two polls for chunks to send while chunks are sent
sending_chunks_per_worker_max = 16  # chunks of one worker whose requests are under way at once
deliveries_per_worker_max = 64  # attempts of one worker under way at once: they only wait
lease_seconds = 10.0  # a process that does not renew its lease for longer is dead
lease_renewal_seconds = 2.0
sweep_seconds = 2.0  # between two rounds of the caretaker
housekeeping_seconds = 3600.0  # between two searches for archives that are not needed
hand_over_retry_seconds = 2.0  # before a step that raised is tried again; doubles each time
hand_over_retry_seconds_max = 60.0
lost_looks_min = 3  # rounds in which a worker finds a hand-over that it does not run: it is lost
clock_tolerance_seconds = 2.0  # a clock that goes back by less than this is not corrected for
overdue_seconds = 5.0  # a batch unchanged for longer is looked up in the engine
swept_workflows_max = 1_000  # finished hand-overs deleted in one round
shutdown_grace_seconds = 20.0  # after SIGTERM; then another worker takes the steps over
lease_lapse_seconds = 3 * lease_renewal_seconds  # a lease not renewed for longer: writes failed
assert lease_lapse_seconds < lease_seconds

# Processes
restart_wait_seconds_first = 0.1  # before a dead child is started again; doubles up to the maximum
restart_wait_seconds_max = 10.0
workers_max = 64

# Batch webhooks
url_checks_at_once_max = 8  # of one API process: a GET of a webhook's URL holds one of its threads
account_url_checks_at_once_max = 2  # more is answered 429
delivery_answer_bytes_max = 16 * 1024  # of a response; the rest is not read
delivery_answer_shown_characters_max = 500  # of a response, in the log of attempts
delivery_jitter = 0.1  # each wait is changed by up to this fraction
retry_after_seconds_max = 6 * 3600.0  # the longest wait that a receiver may ask for
webhook_failing_attempts_min = 5  # of one delivery, before its webhook is disabled
account_attempts_at_once_max = 16  # of one worker to the webhooks of one account
webhook_attempts_at_once_max = 4  # of one worker to one webhook; 1 if the webhook is slow
slow_attempt_seconds = 2.0  # a webhook is slow if an attempt takes longer, or if it fails
slot_wait_seconds_max = 1.0  # that a thread waits for a slot before its delivery is postponed
slow_attempts_at_once_max = 2  # of one worker to the slow webhooks of one account
webhook_wait_seconds_max = 300  # the longest that a delivery is postponed for a slow webhook
assert account_attempts_at_once_max * 4 <= deliveries_per_worker_max
webhook_recovered_max = 1_000  # deliveries that one call sends again
webhook_secret_overlap_hours = 24  # the old secret also signs for so long

# The database
busy_timeout_seconds = 30.0  # how long a writer waits for SQLite's lock
write_lock_poll_seconds = 0.0005  # between two attempts to get SQLite's lock
idle_transaction_seconds = 60.0  # PostgreSQL ends a session that is idle in a transaction
id_block_size = 10_000  # keys reserved at a time: more than a chunk needs

# The audience
gathered_calls_max = 50  # single calls answered together; ten connections rarely have more
gathered_body_bytes_max = 16 * 1024  # of one such call; a member has about 1,000
planned_rows_max = 15_000  # of one plan: its transaction holds the lock for about 50 ms on SQLite
planned_bytes_max = 4 * 1024 * 1024  # of the bodies of one plan; values need up to 20 times as much
planned_calls_min = 50  # fewer calls between plain writes are answered with these
locked_cost_max = 1_000  # of calls in a write transaction; a plain read costs 1, about 50 µs
plain_write_cost = 25  # of a call that changes a list or a merge field
locked_set_cost = 40  # of loading and writing a set of member calls
assert locked_set_cost + planned_calls_min < locked_cost_max
purge_rows_max = 1_000  # rows of a deleted list that one transaction deletes
purge_transactions_max = 20  # of one round of the caretaker
lists_per_account_max = 10_000
explained_bytes_max = 256 * 1024  # of a wrong body, all of whose faults are named; else the first
field_errors_max = 100  # that one problem names; a body may have thousands
field_text_characters_max = 1_000  # of each text in a list or a merge field
members_per_subscribe_call_max = 500  # contract: POST /lists/{id}
merge_fields_per_list_max = 80
merge_text_characters_max = 255
merge_choices_max = 500  # of a radio or dropdown field
merge_display_order_max = 1_000_000
tags_shown_per_member_max = 50  # contract: `tags` shows 50, `tags_count` counts all
tag_name_characters_max = 100
tags_per_call_max = 10_000  # of one member, of which 50 are shown
language_characters_max = 100  # of a member; a code or a name of a language
ip_address_characters_max = 64  # the longest form has 45; a zone of IPv6 may follow
email_address_characters_max = 254
ip_zone_characters_max = 15  # of an IPv6 address, as of names of interfaces on Linux
