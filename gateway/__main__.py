"""The entry of `gateway` and of `python -m gateway`."""

import json
import sys


def main() -> None:
    """Do what was typed. Ctrl-C is quiet from the first moment on: the commands take a while to be imported."""
    try:
        from gateway.cli.main import main as entered  # noqa: PLC0415 - nothing may be imported where nobody catches it

        entered()
    except KeyboardInterrupt:
        if "--json" in sys.argv:
            print(json.dumps({"error": {"reason": "interrupted", "message": "Interrupted."}}))  # noqa: T201
        sys.exit(130)  # 128 and SIGINT, as shells say it


if __name__ == "__main__":
    main()
