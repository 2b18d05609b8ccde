"""The management API: apps, keys, users, developers, incidents and their history, for operators and developers."""
