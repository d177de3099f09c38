"""The page of a window: a viewer's browser sees the picture, why it stops, and how long it lasts. Knows no window."""
