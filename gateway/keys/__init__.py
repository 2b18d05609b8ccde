"""The life of credentials."""
