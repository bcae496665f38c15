"""What script/bench runs: how fast Soniq drains and takes in jobs, beside plain SQL that does the same work."""
