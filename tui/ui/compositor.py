"""Drawing only what is to be seen of a part of the screen."""

from __future__ import annotations

from collections.abc import Iterable

from textual._compositor import Compositor
from textual.geometry import Region
from textual.strip import Strip


class LeanCompositor(Compositor):
    """Asks a widget for its lines only where some of them may be drawn.

    Textual asks every widget whose clip meets the part, so one line costs as much as the whole screen does.
    """

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """See `Compositor`: region, clip and lines of each widget, those in front first."""
        if not crop:
            yield from super()._get_renders(crop)
            return
        for widget, (region, clip) in self.visible_widgets.items():
            shown = region.intersection(clip)
            if not shown or not crop.overlaps(shown):
                continue
            lines = Region(shown.x - region.x, shown.y - region.y, shown.width, shown.height)
            yield region, clip, widget.render_lines(lines)
            if shown.contains_region(crop):
                return  # what is behind is covered
