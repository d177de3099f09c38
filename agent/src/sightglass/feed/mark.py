"""The mark: one line of small text in a bar at the top of each published frame.

Drawn after the redaction, and only at the top: the bottom of the picture belongs to what the site burns in itself.
"""

from __future__ import annotations

from datetime import UTC, datetime

import cv2

from sightglass.feed.redact import Image

BAR = 18  # height in pixels
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SCALE = 0.4


def mark_text(camera: str, window: str, captured: float | None, number: int) -> str:
    """The line for frame `number`; `captured` is the picture's time in seconds since 1970, None for a slate."""
    when = "no picture"
    if captured is not None:
        moment = datetime.fromtimestamp(captured, UTC)
        when = f"{moment.isoformat(' ', 'milliseconds').removesuffix('+00:00')} UTC"
    return f"{camera}  {window}  {when}  #{number}"


def draw_mark(picture: Image, text: str) -> None:
    """Draw `text` into the top BAR rows of `picture` (height, width, 3), in place; long text is drawn smaller."""
    width = picture.shape[1]
    picture[:BAR] = 0
    (drawn, _), _ = cv2.getTextSize(text, _FONT, _SCALE, 1)
    scale = _SCALE * min(1.0, (width - 8) / drawn)
    cv2.putText(picture, text, (4, 13), _FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)
