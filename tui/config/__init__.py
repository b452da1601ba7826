"""The configuration: where it lives, what it may hold, how it is read, followed and saved.

Import from the modules; nothing heavy is imported here (`peek` must stay light).
"""

import os

# pydantic looks for plugins in the metadata of every installed package: 10 ms of every start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
