"""An authenticating, authorizing reverse proxy for GraphQL."""

__version__ = "0.1.0"
