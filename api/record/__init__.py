"""One row for each call of `/forward`, committed before its answer leaves."""
