"""What a developer needs beside the gateway: a pretend upstream with plausible data, and a page to try requests on."""
