"""The commands: what is typed and what is printed, and no rules."""
