"""How often figures of a GPU are asked for that need not be asked for each time, seconds."""

from __future__ import annotations

from typing import Final

RETRY: Final = 60.0
"""Until a lost card, or a driver that refused, is asked again; also the age at which a card is asked who it is again."""
SLOW: Final = 5.0
"""Between two looks at what changes slowly: fan, link, errors, limits."""
PROCESSES: Final = 2.0
"""Between two looks at the processes while somebody shows them."""
PROCESSES_UNSEEN: Final = 10.0
"""The same while nobody does; the limits look at them."""
SEARCH: Final = 10.0
"""Between two searches of all processes for those that have a GPU open."""
SEARCH_UNSEEN: Final = 30.0
"""The same while nobody shows them."""
SEARCH_SHARE: Final = 0.02
"""Of a core, that such searches may cost."""
