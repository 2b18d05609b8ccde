"""The control plane: health and metrics on a listener of their own."""
