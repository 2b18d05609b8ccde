"""Where apps, keys and users are kept: one contract, held to one suite of tests."""
