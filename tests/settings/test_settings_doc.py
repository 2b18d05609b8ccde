"""docs/settings.md and the settings are alike."""

import os

from tests.support.settings_doc import DOCUMENT, document


def test_the_page_lists_every_setting_as_it_is() -> None:
    """Operators would read of settings that do not exist, or of defaults that are not."""
    if os.environ.get("UPDATE_DOCS"):
        DOCUMENT.write_text(document(), "utf-8")

    assert DOCUMENT.read_text("utf-8") == document()
