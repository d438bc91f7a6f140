"""Tools that know nothing of batches: time, ids, signing, tar headers."""
